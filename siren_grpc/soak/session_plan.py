"""What the sessions of a churn do: drawn at random, the same for the same seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random

from siren_grpc.bench.audio import to_pcm
from siren_grpc.domain.work import Samples

_CLIPS_S = (0.05, 0.16, 0.3, 0.6)
_N_CLIPS_OF_EACH = 2
_MAX_PIECES = 4


class Kind(str, Enum):
    """How a session goes."""

    HALF_CLOSED = "half-closed"
    ENDED = "ended"
    """By ACTION_END."""
    FINALIZED = "finalized"
    """Two utterances, the first ended by ACTION_FINALIZE."""
    RECORDING = "recording"
    """`Recognize`."""
    RESUMABLE = "resumable"
    CANCELLED = "cancelled"
    """At a random byte."""
    LEFT = "left"
    """Cancelled at a random byte, though it could be resumed: the server keeps it for a while."""
    REFUSED = "refused"
    """Its config makes no sense."""


_ENDED = {
    Kind.HALF_CLOSED: 38,
    Kind.ENDED: 20,
    Kind.FINALIZED: 15,
    Kind.RECORDING: 10,
    Kind.RESUMABLE: 5,
    Kind.REFUSED: 2,
}
_CUT = {Kind.CANCELLED: 7, Kind.LEFT: 3}
"""How often each comes among those that end, and among those that are cancelled."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """One session.

    clips: which, one an utterance. pieces: messages of each. cut: bytes of all audio behind which
    it is cancelled, for those that are.
    """

    kind: Kind
    clips: tuple[int, ...]
    pieces: int
    cut: int


def cut_clips(recording: Samples, *, sample_rate_hertz: int, seed: int) -> list[bytes]:
    """Return short clips from random places of a recording, [n_samples], as 16-bit PCM."""
    random = Random(seed)
    clips = []
    for seconds in _CLIPS_S * _N_CLIPS_OF_EACH:
        length = min(int(seconds * sample_rate_hertz), len(recording))
        start = random.randrange(len(recording) - length + 1)
        clips.append(to_pcm(recording[start : start + length]))
    return clips


def draw(random: Random, clips: Sequence[bytes], *, cancelled_share: float) -> SessionPlan:
    """Draw a session.

    clips: those there are, of which the lengths in bytes count. cancelled_share: how likely it is
    to be cancelled, from 0 to 1.
    """
    weights = _CUT if random.random() < cancelled_share else _ENDED
    (kind,) = random.choices(tuple(weights), tuple(weights.values()))
    chosen = tuple(random.randrange(len(clips)) for _ in range(1 + (kind is Kind.FINALIZED)))
    n_bytes = sum(len(clips[clip]) for clip in chosen)
    return SessionPlan(kind, chosen, random.randint(1, _MAX_PIECES), random.randint(0, n_bytes))


def pieces(data: bytes, n: int) -> list[bytes]:
    """Cut bytes into at most n messages, whose borders need not be those of samples."""
    size = max(1, -(-len(data) // n))
    return [data[start : start + size] for start in range(0, len(data), size)]
