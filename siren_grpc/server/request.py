"""What a stream asked for, after it was checked: validation happens once, at the door."""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.audio.source import AudioSpec
from siren_grpc.domain.model import Lane, ModelOptions
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.results import WordDetail
from siren_grpc.domain.work import StreamOptions
from siren_grpc.text.options import TextOptions


@dataclass(frozen=True, slots=True)
class ValidConfig:
    """A config the server can serve, with every default filled in."""

    audio: AudioSpec
    language_code: str
    lane: Lane
    options: StreamOptions
    text: TextOptions
    phrases: Phrases = ()
    words: WordDetail = WordDetail.NONE
    is_resumable: bool = False
    alternatives: int = 0

    @property
    def model_options(self) -> ModelOptions:
        """What the model is told of this stream."""
        return ModelOptions(language_code=self.language_code)
