"""When an utterance ends without being told to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FinalCause(str, Enum):
    """Why an utterance ended where it did."""

    END = "end"
    """The client ended the stream."""
    FINALIZE = "finalize"
    """The client asked for the final."""
    SILENCE = "silence"
    """Nobody spoke for `EndpointRules.min_silence_ms`."""
    END_TOKEN = "end_token"
    """The model said so by a token such as `<EOU>`."""
    MAX_UTTERANCE = "max_utterance"
    """It was longer than `EndpointRules.max_utterance_ms`."""
    NO_SPEECH = "no_speech"
    """Nobody began to speak for `EndpointRules.no_speech_ms`."""
    SESSION_LIMIT = "session_limit"
    """The stream reached the server's maximum of audio, or its principal may have no more."""
    SHUTDOWN = "shutdown"
    """The server stops."""


class EndpointDetector(str, Enum):
    """What tells speech from silence.

    DECODER: the tokens; silence is where the decoder emits none. VAD: a voice activity detector.
    END_TOKEN: tokens such as `<EOU>`, which some models emit.
    """

    DECODER = "decoder"
    VAD = "vad"
    END_TOKEN = "end_token"


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """When a stream's utterances end; all but the detector may be left out.

    min_silence_ms: silence behind speech that ends the utterance; None for no such rule.
    min_speech_ms: how long the VAD must hear speech to believe it.
    speech_threshold: probability from which on the VAD hears speech, 0 to 1.
    max_utterance_ms: speech after which the next word starts another utterance; None for never.
    no_speech_ms: silence before any speech that ends the utterance, empty; None for never.
    is_hard: the next utterance starts with a fresh decoder and encoder, not with what was heard.
    is_single: the stream ends behind its first utterance.
    """

    detector: EndpointDetector
    min_silence_ms: int | None
    min_speech_ms: int = 0
    speech_threshold: float = 0.5
    max_utterance_ms: int | None = None
    no_speech_ms: int | None = None
    is_hard: bool = False
    is_single: bool = False
