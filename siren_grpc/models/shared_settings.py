"""Settings that are one value for all models: who follows them, and when nobody could.

Pure, and imports nothing heavy: what a model offers comes in, what it is served with goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from siren_grpc.domain.model import DecoderKind


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator wants of every model; None leaves it to the model."""

    chunk_frames: int | None = None
    decoder: DecoderKind | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a model can be served with."""

    model: str
    """Its id."""
    chunk_frames: tuple[int, ...]
    """Ascending."""
    default_chunk_frames: int
    decoders: tuple[DecoderKind, ...]
    """The default first."""
    is_buffered: bool = False
    """Whether `chunk_frames` are windows of an offline model, which may be added to."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a model is served with."""

    chunk_frames: int
    decoder: DecoderKind


@dataclass(frozen=True, slots=True)
class Unmet:
    """A setting that a model cannot follow."""

    model: str
    setting: str
    value: str
    why: str
    """A sentence that names the model, what was wanted, and what there is."""
    instead: str
    """What the model uses when the setting is left out."""
    offered: tuple[str, ...]
    """Values of the setting that it can follow."""


OnUnmet = Callable[[Unmet], None]
"""Told of a setting that a model cannot follow: raises, or returns for the model's own default."""


def choose(wanted: Wanted, offer: Offer, on_unmet: OnUnmet) -> Chosen:
    """Return what a model is served with: what is wanted where it can, else its own default.

    Raises what on_unmet raises.
    """
    frames, decoder = wanted.chunk_frames, wanted.decoder
    if frames is not None and frames not in offer.chunk_frames:
        on_unmet(_unmet_chunk_frames(frames, offer))
        frames = None
    if decoder is not None and decoder not in offer.decoders:
        on_unmet(_unmet_decoder(decoder, offer))
        decoder = None
    return Chosen(frames or offer.default_chunk_frames, decoder or offer.decoders[0])


def refusal(unmet: Sequence[Unmet]) -> str:
    """Return the sentence that refuses a setting. unmet: one of each model, of one setting."""
    setting = unmet[0].setting
    values = dict.fromkeys(value for each in unmet for value in each.offered)
    *others, last = values
    known = f"{', '.join(others)} or {last}" if others else last
    whys = "; ".join(each.why for each in unmet)
    return f"{whys}; leave {setting} unset, or set it to {known}"


class SharedSettings:
    """Tells which models do without a setting and which are refused for it.

    A model that cannot follow one does without it, be it loaded at start or later, but not when
    that leaves nobody at start to follow it: then the operator meant something else.
    """

    def __init__(self, at_start: Iterable[str]) -> None:
        """Start before any model is loaded. at_start: names of the models loaded first."""
        self._at_start = frozenset(at_start)
        self._to_come = set(self._at_start)
        self._unmet: dict[str, dict[str, Unmet]] = {}
        """What the models at start could not follow, by setting and their name."""

    def refuses(self, name: str, unmet: Unmet) -> str | None:
        """Return why a model is refused for a setting, None where it does without.

        name: the model's, which is being loaded.
        """
        if name not in self._to_come:
            return None  # loaded again, or later: what is served already depends on no one else
        found = self._unmet.setdefault(unmet.setting, {})
        found[name] = unmet
        if found.keys() < self._at_start:
            return None  # another follows it, or may yet
        return refusal(tuple(found.values()))

    def is_loaded(self, name: str) -> None:
        """Note that a model is loaded."""
        self._to_come.discard(name)


def _unmet_chunk_frames(frames: int, offer: Offer) -> Unmet:
    offered = tuple(str(known) for known in offer.chunk_frames)
    if offer.is_buffered:
        why = (
            f"{offer.model} is not offered with chunk_frames {frames}; it offers "
            f"{', '.join(offered)}, and what the settings of buffered streaming add"
        )
    else:
        why = (
            f"{offer.model} was not trained for chunk_frames {frames}; it offers "
            f"{', '.join(offered)}"
        )
    instead = str(offer.default_chunk_frames)
    return Unmet(offer.model, "chunk_frames", str(frames), why, instead, offered)


def _unmet_decoder(decoder: DecoderKind, offer: Offer) -> Unmet:
    offered = tuple(kind.value for kind in offer.decoders)
    why = f"{offer.model} has no {decoder.value} decoder; it has {', '.join(offered)}"
    return Unmet(offer.model, "decoder", decoder.value, why, offered[0], offered)
