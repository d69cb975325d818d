"""The words of results and other readings: protocol messages to the domain's types and back."""

from __future__ import annotations

from collections.abc import Iterable

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.readings import MOST_ALTERNATIVES
from siren_grpc.domain.results import Word, WordDetail
from siren_grpc.server.durations import to_duration


def to_word_detail(config: pb.StreamingConfig) -> WordDetail:
    """Return which results of a stream list their words."""
    if config.partial_words:
        return WordDetail.PARTIALS
    return WordDetail.FINALS if config.words else WordDetail.NONE


def to_alternatives(config: pb.StreamingConfig) -> int:
    """Return how many alternatives finals list at most. Raises InvalidConfig."""
    if not 0 <= config.max_alternatives <= MOST_ALTERNATIVES:
        raise InvalidConfig.of_field(
            "max_alternatives",
            f"{config.max_alternatives} is out of range; use 0 (none) to {MOST_ALTERNATIVES}",
        )
    return config.max_alternatives


def to_words(words: Iterable[Word], hertz: int) -> list[pb.WordInfo]:
    """Return words as their messages. hertz: of their sample counts."""
    return [
        pb.WordInfo(
            text=word.text,
            start_time=to_duration(word.start_samples, hertz),
            end_time=to_duration(word.end_samples, hertz),
            confidence=word.confidence,
            is_stable=word.is_stable,
        )
        for word in words
    ]
