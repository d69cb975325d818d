"""The phrases of a config, checked."""

from __future__ import annotations

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


def to_phrases(biasing: pb.BiasingConfig, info: ModelInfo, decoder: DecoderKind) -> Phrases:
    """Return the phrases of a stream, all that can be said without the model's vocabulary checked.

    Raises InvalidConfig naming the index of the phrase and what would be right.
    """
    default = DEFAULT_BOOST
    if biasing.HasField("boost"):
        default = _boost(biasing.boost, "biasing.boost")
    if not biasing.phrases:
        return ()
    if decoder not in info.biasing_decoders:
        known = ", ".join(kind.value for kind in info.biasing_decoders)
        raise InvalidConfig.of_field(
            "biasing.phrases",
            f"the {decoder.value} decoder of {info.id} takes no phrases; "
            + (f"use {known}" if known else "no decoder of this model does: leave them out"),
        )
    if len(biasing.phrases) > MAX_PHRASES:
        raise InvalidConfig.of_field(
            f"biasing.phrases[{MAX_PHRASES}]",
            f"{len(biasing.phrases)} phrases are too many; send at most {MAX_PHRASES}",
        )
    return tuple(_phrase(phrase, index, default) for index, phrase in enumerate(biasing.phrases))


def _phrase(phrase: pb.Phrase, index: int, default_boost: float) -> Phrase:
    field = f"biasing.phrases[{index}]"
    text = " ".join(phrase.text.split())
    if not text:
        raise InvalidConfig.of_field(f"{field}.text", "is empty; write the phrase or leave it out")
    if len(text) > MAX_PHRASE_CHARS:
        raise InvalidConfig.of_field(
            f"{field}.text",
            f"has {len(text)} characters; use at most {MAX_PHRASE_CHARS}: a name or a few words",
        )
    boost = default_boost
    if phrase.HasField("boost"):
        boost = _boost(phrase.boost, f"{field}.boost")
    return Phrase(text, boost)


def _boost(boost: float, field: str) -> float:
    if not 0 < boost <= MAX_BOOST:  # NaN is not, either
        raise InvalidConfig.of_field(
            field,
            f"{boost:g} is out of range; use more than 0 and at most {MAX_BOOST:g}, or leave it "
            "unset",
        )
    return boost
