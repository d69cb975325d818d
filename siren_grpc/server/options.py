"""What a client may change while its stream runs: protocol messages to the domain and back."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules
from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.results import Reconfigured
from siren_grpc.domain.work import StreamOptions
from siren_grpc.server.durations import to_duration
from siren_grpc.server.violations import Violations

_DETECTORS = {
    pb.EndpointingConfig.DETECTOR_UNSPECIFIED: EndpointDetector.DECODER,
    pb.EndpointingConfig.DETECTOR_DECODER: EndpointDetector.DECODER,
    pb.EndpointingConfig.DETECTOR_VAD: EndpointDetector.VAD,
    pb.EndpointingConfig.DETECTOR_END_TOKEN: EndpointDetector.END_TOKEN,
}
_PB_DETECTORS = {kind: number for number, kind in _DETECTORS.items() if number}
_STATES = {
    pb.EndpointingConfig.STATE_UNSPECIFIED: False,
    pb.EndpointingConfig.STATE_SOFT: False,
    pb.EndpointingConfig.STATE_HARD: True,
}
_DEFAULT_MIN_SILENCE_MS = 800
_MIN_SILENCE_MS = (100, 60_000)
_DEFAULT_MIN_SPEECH_MS = 250
_MOST_MIN_SPEECH_MS = 10_000
_DEFAULT_THRESHOLD = 0.5
_THRESHOLDS = (0.2, 0.95)
_LEAST_LONG_MS = 1000
_MOST_MS = 24 * 3_600_000
_MOST_INTERVAL_MS = 60_000


def to_options(config: pb.StreamingConfig, info: ModelInfo, *, n_phrases: int) -> StreamOptions:
    """Check a new stream's options. Raises InvalidConfig naming the fields."""
    faults = Violations()
    endpointing: EndpointRules | None = None
    with faults:
        if config.HasField("endpointing"):
            endpointing = _to_rules(config.endpointing, info)
    with faults:
        interval = _interval(config.partial_interval_ms)
    faults.raise_any()
    return StreamOptions(endpointing, interval, n_phrases)


def to_updated_options(
    update: pb.ConfigUpdate, had: StreamOptions, info: ModelInfo, *, n_phrases: int
) -> StreamOptions:
    """Return a stream's options with an update applied. Raises InvalidConfig as for a config."""
    faults = Violations()
    endpointing, interval = had.endpointing, had.partial_interval_ms
    with faults:
        if update.HasField("endpointing"):
            endpointing = _to_rules(update.endpointing, info)
    with faults:
        if update.HasField("partial_interval_ms"):
            interval = _interval(update.partial_interval_ms)
    faults.raise_any()
    return StreamOptions(endpointing, interval, n_phrases)


def to_updated(change: Reconfigured, hertz: int) -> pb.ConfigUpdated:
    """Acknowledge an update. hertz: of its sample count."""
    rules = change.options.endpointing
    return pb.ConfigUpdated(
        time=to_duration(change.at_samples, hertz),
        endpointing=None if rules is None else _from_rules(rules),
        partial_interval_ms=change.options.partial_interval_ms,
        phrases=change.options.n_phrases,
    )


def _to_rules(config: pb.EndpointingConfig, info: ModelInfo) -> EndpointRules | None:
    if config.detector == pb.EndpointingConfig.DETECTOR_OFF:
        return None
    faults = Violations()
    detector: EndpointDetector | None = None
    with faults:
        detector = _detector(config.detector, info)
    with faults:
        is_hard = _is_hard(config.state)
    with faults:
        min_silence_ms = _min_silence(config, detector)
    with faults:
        min_speech_ms = _min_speech(config, detector)
    with faults:
        speech_threshold = _threshold(config, detector)
    with faults:
        max_utterance_ms = _long(config.max_utterance_ms, "max_utterance_ms")
    with faults:
        no_speech_ms = _long(config.no_speech_ms, "no_speech_ms")
    faults.raise_any()
    if detector is None:
        raise AssertionError("a detector that is none is a fault of its field")
    return EndpointRules(
        detector=detector,
        min_silence_ms=min_silence_ms,
        min_speech_ms=min_speech_ms,
        speech_threshold=speech_threshold,
        max_utterance_ms=max_utterance_ms,
        no_speech_ms=no_speech_ms,
        is_hard=is_hard,
        is_single=config.single_utterance,
    )


def _from_rules(rules: EndpointRules) -> pb.EndpointingConfig:
    messages = pb.EndpointingConfig
    is_vad = rules.detector is EndpointDetector.VAD
    return messages(
        detector=_PB_DETECTORS[rules.detector],
        min_silence_ms=rules.min_silence_ms,
        min_speech_ms=rules.min_speech_ms if is_vad else None,
        speech_threshold=rules.speech_threshold if is_vad else None,
        max_utterance_ms=rules.max_utterance_ms or 0,
        no_speech_ms=rules.no_speech_ms or 0,
        state=messages.STATE_HARD if rules.is_hard else messages.STATE_SOFT,
        single_utterance=rules.is_single,
    )


def _detector(number: pb.EndpointingConfig.Detector.ValueType, info: ModelInfo) -> EndpointDetector:
    detector = _DETECTORS.get(number)
    if detector is None:
        known = ", ".join(pb.EndpointingConfig.Detector.Name(n) for n in _PB_DETECTORS.values())
        raise _invalid("detector", f"unknown value {number}; use {known} or DETECTOR_OFF")
    if detector is EndpointDetector.END_TOKEN and not info.end_tokens:
        raise _invalid("detector", f"model {info.id} has no such token; use DETECTOR_DECODER")
    if detector is EndpointDetector.VAD and not info.hears_voice:
        raise _invalid("detector", f"model {info.id} has no VAD here; use DETECTOR_DECODER")
    return detector


def _is_hard(number: pb.EndpointingConfig.State.ValueType) -> bool:
    if number not in _STATES:
        raise _invalid("state", f"unknown value {number}; use STATE_SOFT or STATE_HARD")
    return _STATES[number]


# Of what follows, the detector is None where the client's is none: then nothing that a detector
# has to do with a field is told of the field.


def _min_silence(config: pb.EndpointingConfig, detector: EndpointDetector | None) -> int | None:
    if not config.HasField("min_silence_ms"):
        return None if detector is EndpointDetector.END_TOKEN else _DEFAULT_MIN_SILENCE_MS
    least, most = _MIN_SILENCE_MS
    if not least <= config.min_silence_ms <= most:
        raise _invalid(
            "min_silence_ms", f"{config.min_silence_ms} is out of range; use {least} to {most}"
        )
    return config.min_silence_ms


def _min_speech(config: pb.EndpointingConfig, detector: EndpointDetector | None) -> int:
    if not config.HasField("min_speech_ms"):
        return _DEFAULT_MIN_SPEECH_MS
    _require_vad("min_speech_ms", detector)
    if not 0 <= config.min_speech_ms <= _MOST_MIN_SPEECH_MS:
        raise _invalid(
            "min_speech_ms",
            f"{config.min_speech_ms} is out of range; use 0 to {_MOST_MIN_SPEECH_MS}",
        )
    return config.min_speech_ms


def _threshold(config: pb.EndpointingConfig, detector: EndpointDetector | None) -> float:
    if not config.HasField("speech_threshold"):
        return _DEFAULT_THRESHOLD
    _require_vad("speech_threshold", detector)
    least, most = _THRESHOLDS
    threshold = config.speech_threshold
    if not least <= threshold <= most:  # neither for NaN
        raise _invalid("speech_threshold", f"{threshold:g} is out of range; use {least} to {most}")
    return threshold


def _require_vad(field: str, detector: EndpointDetector | None) -> None:
    if detector not in (None, EndpointDetector.VAD):
        raise _invalid(field, "is for DETECTOR_VAD only; leave it unset")


def _long(milliseconds: int, field: str) -> int | None:
    if milliseconds == 0:
        return None
    if not _LEAST_LONG_MS <= milliseconds <= _MOST_MS:
        raise _invalid(
            field,
            f"{milliseconds} is out of range; use {_LEAST_LONG_MS} to {_MOST_MS}, or 0 for none",
        )
    return milliseconds


def _interval(milliseconds: int) -> int:
    if not 0 <= milliseconds <= _MOST_INTERVAL_MS:
        raise InvalidConfig.of_field(
            "partial_interval_ms", f"{milliseconds} is out of range; use 0 to {_MOST_INTERVAL_MS}"
        )
    return milliseconds


def _invalid(field: str, description: str) -> InvalidConfig:
    return InvalidConfig.of_field(f"endpointing.{field}", description)
