"""The phrases of a config, checked."""

from __future__ import annotations

from collections.abc import Sequence

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind, ModelInfo
from siren_grpc.domain.phrases import (
    DEFAULT_BOOST,
    MAX_BOOST,
    MAX_PHRASE_CHARS,
    MAX_PHRASES,
    Phrase,
    Phrases,
)
from siren_grpc.server.violations import Violations


def to_phrases(biasing: pb.BiasingConfig, info: ModelInfo, decoder: DecoderKind | None) -> Phrases:
    """Return the phrases of a stream, all that can be said without the model's vocabulary checked.

    decoder: None if the stream asked for one that is not there, which is no fault of the phrases.
    Raises InvalidConfig naming the indices of the phrases and what would be right.
    """
    faults = Violations()
    default = DEFAULT_BOOST
    with faults:
        if biasing.HasField("boost"):
            default = _boost(biasing.boost, "biasing.boost")
    with faults:
        phrases = _phrases(biasing.phrases, info, decoder, default)
    faults.raise_any()
    return phrases


def _phrases(
    asked: Sequence[pb.Phrase], info: ModelInfo, decoder: DecoderKind | None, default_boost: float
) -> Phrases:
    if asked and decoder is not None and decoder not in info.biasing_decoders:
        known = ", ".join(kind.value for kind in info.biasing_decoders)
        raise InvalidConfig.of_field(
            "biasing.phrases",
            f"the {decoder.value} decoder of {info.id} takes no phrases; "
            + (f"use {known}" if known else "no decoder of this model does: leave them out"),
        )
    if len(asked) > MAX_PHRASES:
        raise InvalidConfig.of_field(
            f"biasing.phrases[{MAX_PHRASES}]",
            f"{len(asked)} phrases are too many; send at most {MAX_PHRASES}",
        )
    faults = Violations()
    phrases = []
    for index, phrase in enumerate(asked):
        with faults:
            phrases.append(_phrase(phrase, f"biasing.phrases[{index}]", default_boost))
    faults.raise_any()
    return tuple(phrases)


def _phrase(phrase: pb.Phrase, field: str, default_boost: float) -> Phrase:
    faults = Violations()
    boost = default_boost
    with faults:
        text = _text(phrase.text, f"{field}.text")
    with faults:
        if phrase.HasField("boost"):
            boost = _boost(phrase.boost, f"{field}.boost")
    faults.raise_any()
    return Phrase(text, boost)


def _text(asked: str, field: str) -> str:
    text = " ".join(asked.split())
    if not text:
        raise InvalidConfig.of_field(field, "is empty; write the phrase or leave it out")
    if len(text) > MAX_PHRASE_CHARS:
        raise InvalidConfig.of_field(
            field,
            f"has {len(text)} characters; use at most {MAX_PHRASE_CHARS}: a name or a few words",
        )
    return text


def _boost(boost: float, field: str) -> float:
    if not 0 < boost <= MAX_BOOST:  # NaN is not, either
        raise InvalidConfig.of_field(
            field,
            f"{boost:g} is out of range; use more than 0 and at most {MAX_BOOST:g}, or leave it "
            "unset",
        )
    return boost
