"""What a stream is told.

Times are sample counts at the model's rate until the server converts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.readings import Alternative, FrameSpan
from siren_grpc.domain.work import StreamOptions


class WordDetail(Enum):
    """Where a stream's results list their words, with times and confidence."""

    NONE = 0
    FINALS = 1
    PARTIALS = 2
    """In partials, and in finals."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a result, its punctuation with it.

    start_samples, end_samples: where in the stream it is. confidence: 0 to 1; None when unknown.
    is_stable: no later result of the utterance takes it back.
    """

    text: str
    start_samples: int
    end_samples: int
    confidence: float | None
    is_stable: bool = True


@dataclass(frozen=True, slots=True)
class Partial:
    """The hypothesis of the current utterance moved."""

    text: str
    stable_len: int
    seq: int
    processed_samples: int
    words: tuple[Word, ...] = ()
    """The last words of `text`, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Final:
    """The whole utterance, settled.

    spoken_text: as it was spoken, where `text` is written otherwise; else empty.
    """

    text: str
    seq: int
    start_samples: int
    end_samples: int
    cause: FinalCause = FinalCause.END
    heard_at: float | None = field(default=None, compare=False)
    """When the last of the audio it needed came, by `time.monotonic`; None when unknown."""
    spoken_text: str = ""
    words: tuple[Word, ...] = ()
    """The words of `text`, where they were asked for."""
    confidence: float | None = None
    """Of the whole utterance, 0 to 1; None without words."""
    resume_samples: int | None = field(default=None, compare=False)
    """From where a fresh model hears what follows as this one would have; None when unknown."""
    language_code: str = ""
    """Of the language the model says it was in, else the one the stream asked for; may be empty."""
    frames: FrameSpan | None = field(default=None, compare=False)
    """Where the model heard it; None when unknown."""
    alternatives: tuple[Alternative, ...] = ()
    """Other readings, where they were asked for, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The stream's options changed."""

    options: StreamOptions
    at_samples: int


class SpeechEventKind(str, Enum):
    """What happened in the stream."""

    SPEECH_STARTED = "speech_started"
    SPEECH_ENDED = "speech_ended"
    SERVER_DRAINING = "server_draining"


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Something that happened at a point of the stream.

    grace_s: with SERVER_DRAINING, how long the stream may go on.
    """

    kind: SpeechEventKind
    at_samples: int
    grace_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The last thing a session delivers; `error` is None when all went well."""

    error: SirenError | None = None


Result: TypeAlias = Partial | Final | SpeechEvent | Reconfigured | StreamEnded


@dataclass(frozen=True, slots=True)
class OfChannel:
    """A result of one of several channels, counted from 0."""

    channel: int
    result: Partial | Final | SpeechEvent
