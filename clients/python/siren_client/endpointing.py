"""When utterances end by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from siren.v1 import speech_pb2 as pb


class EndpointDetector(str, Enum):
    """What tells speech from silence."""

    DECODER = "decoder"
    """The recogniser itself: silence is where it emits nothing."""
    VAD = "vad"
    """A voice activity detector beside the recogniser (`Model.has_vad`)."""
    END_TOKEN = "end_token"
    """Tokens such as `<EOU>`, which some models emit (`Model.has_end_token`)."""
    OFF = "off"
    """Utterances end only when the client says so; for `Update`."""


class FinalCause(str, Enum):
    """Why an utterance ended where it did."""

    END = "end"
    """The audio ended."""
    FINALIZE = "finalize"
    """`Control.FINALIZE`."""
    SILENCE = "silence"
    """`Endpointing.min_silence_ms` without speech."""
    END_TOKEN = "end_token"
    """The model said that the speaker has finished."""
    MAX_UTTERANCE = "max_utterance"
    """`Endpointing.max_utterance_ms`."""
    NO_SPEECH = "no_speech"
    """`Endpointing.no_speech_ms`; the text is empty."""
    SESSION_LIMIT = "session_limit"
    """The stream's maximum of audio; `SESSION_TOO_LONG` follows."""
    SHUTDOWN = "shutdown"
    """The server stops; `SHUTTING_DOWN` follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpointing:
    """When an utterance ends without `Control.FINALIZE`. What is None, the server chooses."""

    detector: EndpointDetector | str = EndpointDetector.DECODER
    """What tells speech from silence: a member of `EndpointDetector` or its value."""
    min_silence_ms: int | None = None
    """Silence behind speech that ends the utterance, 100 to 60000. The server's default is
    800; with END_TOKEN, silence ends nothing unless this is set."""
    min_speech_ms: int | None = None
    """How long the VAD must hear speech to believe it; the server's default is 250."""
    speech_threshold: float | None = None
    """Probability from which on the VAD hears speech, 0.2 to 0.95; the server's is 0.5."""
    max_utterance_ms: int | None = None
    """Speech behind which the next word starts another utterance, 1000 or more; None: never."""
    no_speech_ms: int | None = None
    """Silence before any speech that ends an utterance, 1000 or more; None: never."""
    hard: bool = False
    """Whether the recogniser starts each utterance afresh; else it goes on as if none had ended."""
    single_utterance: bool = False
    """Whether the stream ends behind its first final."""


_DETECTORS = {
    EndpointDetector.DECODER: pb.EndpointingConfig.DETECTOR_DECODER,
    EndpointDetector.VAD: pb.EndpointingConfig.DETECTOR_VAD,
    EndpointDetector.END_TOKEN: pb.EndpointingConfig.DETECTOR_END_TOKEN,
    EndpointDetector.OFF: pb.EndpointingConfig.DETECTOR_OFF,
}
_BY_NUMBER = {int(number): member for member, number in _DETECTORS.items()}
_CAUSES = {int(pb.FinalResult.Cause.Value(f"CAUSE_{cause.name}")): cause for cause in FinalCause}


def to_endpointing(endpointing: Endpointing) -> pb.EndpointingConfig:
    """Build the message. Raises ValueError for a detector that does not exist."""
    message = pb.EndpointingConfig(
        detector=_DETECTORS[_detector(endpointing.detector)],
        min_silence_ms=endpointing.min_silence_ms,
        min_speech_ms=endpointing.min_speech_ms,
        speech_threshold=endpointing.speech_threshold,
        max_utterance_ms=endpointing.max_utterance_ms or 0,
        no_speech_ms=endpointing.no_speech_ms or 0,
        single_utterance=endpointing.single_utterance,
    )
    if endpointing.hard:
        message.state = pb.EndpointingConfig.STATE_HARD
    return message


def from_endpointing(message: pb.EndpointingConfig) -> Endpointing:
    """Read the message."""
    return Endpointing(
        detector=_BY_NUMBER.get(message.detector, EndpointDetector.DECODER),
        min_silence_ms=message.min_silence_ms if message.HasField("min_silence_ms") else None,
        min_speech_ms=message.min_speech_ms if message.HasField("min_speech_ms") else None,
        speech_threshold=(
            message.speech_threshold if message.HasField("speech_threshold") else None
        ),
        max_utterance_ms=message.max_utterance_ms or None,
        no_speech_ms=message.no_speech_ms or None,
        hard=message.state == pb.EndpointingConfig.STATE_HARD,
        single_utterance=message.single_utterance,
    )


def from_cause(number: int) -> FinalCause | None:
    """Read why an utterance ended; None for a reason this client does not know."""
    return _CAUSES.get(number)


def _detector(value: EndpointDetector | str) -> EndpointDetector:
    try:
        return EndpointDetector(value)
    except ValueError:
        names = ", ".join(repr(member.value) for member in EndpointDetector)
        raise ValueError(f"{value!r} is not one of {names}") from None
