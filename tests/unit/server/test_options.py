"""Ranges and defaults of what a client may change while its stream runs."""

from __future__ import annotations

import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules
from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.results import Reconfigured
from siren_grpc.domain.work import StreamOptions
from siren_grpc.server.options import to_options, to_updated, to_updated_options
from tests.support.builders import make_info

Endpointing = pb.EndpointingConfig
INFO = make_info(end_tokens=frozenset({3}), hears_voice=True)
DAY_MS = 86_400_000
VAD = Endpointing.DETECTOR_VAD


def options(info: ModelInfo = INFO, **fields: object) -> StreamOptions:
    return to_options(pb.StreamingConfig(**fields), info, n_phrases=0)  # type: ignore[arg-type]


def rules(**fields: object) -> EndpointRules | None:
    return options(endpointing=Endpointing(**fields)).endpointing  # type: ignore[arg-type]


def test_unset_nothing_ends_by_itself_and_each_change_is_told() -> None:
    assert options() == StreamOptions(endpointing=None, partial_interval_ms=0)
    assert rules(detector=Endpointing.DETECTOR_OFF, single_utterance=True) is None


@pytest.mark.parametrize(
    ("asked", "detector", "min_silence_ms"),
    [
        (Endpointing.DETECTOR_UNSPECIFIED, EndpointDetector.DECODER, 800),
        (Endpointing.DETECTOR_DECODER, EndpointDetector.DECODER, 800),
        (Endpointing.DETECTOR_VAD, EndpointDetector.VAD, 800),
        (Endpointing.DETECTOR_END_TOKEN, EndpointDetector.END_TOKEN, None),
    ],
)
def test_defaults_are_those_of_the_protocol(
    asked: Endpointing.Detector.ValueType, detector: EndpointDetector, min_silence_ms: int | None
) -> None:
    assert rules(detector=asked) == EndpointRules(
        detector,
        min_silence_ms,
        min_speech_ms=250,
        speech_threshold=0.5,
        max_utterance_ms=None,
        no_speech_ms=None,
        is_hard=False,
        is_single=False,
    )


RANGES = [
    ("min_silence_ms", {}, 100, 60_000),
    ("min_speech_ms", {"detector": VAD}, 0, 10_000),
    ("max_utterance_ms", {}, 1000, DAY_MS),
    ("no_speech_ms", {}, 1000, DAY_MS),
]


@pytest.mark.parametrize(("field", "with_it", "least", "most"), RANGES)
def test_milliseconds_have_the_range_of_the_protocol(
    field: str, with_it: dict, least: int, most: int
) -> None:
    for value in (least, most):
        assert getattr(rules(**{field: value}, **with_it), field) == value
    for value in (least - 1, most + 1, -1):
        with pytest.raises(InvalidConfig) as caught:
            rules(**{field: value}, **with_it)
        (violation,) = caught.value.violations
        assert violation.field == f"config.endpointing.{field}"
        assert f"use {least} to {most}" in violation.description


@pytest.mark.parametrize("field", ["max_utterance_ms", "no_speech_ms"])
def test_no_milliseconds_are_no_rule(field: str) -> None:
    assert getattr(rules(**{field: 0}), field) is None


def test_a_threshold_has_the_range_of_the_protocol() -> None:
    for value in (0.2, 0.95):
        found = rules(detector=VAD, speech_threshold=value)
        assert found is not None
        assert found.speech_threshold == pytest.approx(value)
    for value in (0.19, 0.96, 0.0, float("nan")):
        with pytest.raises(InvalidConfig, match=r"use 0\.2 to 0\.95"):
            rules(detector=VAD, speech_threshold=value)


@pytest.mark.parametrize("field", ["min_speech_ms", "speech_threshold"])
def test_what_is_the_vads_is_refused_without_it(field: str) -> None:
    with pytest.raises(InvalidConfig, match="DETECTOR_VAD only"):
        rules(**{field: 1})


@pytest.mark.parametrize(
    ("detector", "says"),
    [("DETECTOR_END_TOKEN", "has no such token"), ("DETECTOR_VAD", "has no VAD here")],
)
def test_a_detector_the_model_does_not_have_is_refused(detector: str, says: str) -> None:
    with pytest.raises(InvalidConfig, match=f"{says}; use DETECTOR_DECODER"):
        options(make_info(), endpointing=Endpointing(detector=detector))


@pytest.mark.parametrize("milliseconds", [-1, 60_001])
def test_an_interval_has_the_range_of_the_protocol(milliseconds: int) -> None:
    assert options(partial_interval_ms=60_000).partial_interval_ms == 60_000
    with pytest.raises(InvalidConfig, match="use 0 to 60000"):
        options(partial_interval_ms=milliseconds)


def test_what_an_update_does_not_set_stays_as_it_is() -> None:
    had = StreamOptions(EndpointRules(EndpointDetector.DECODER, 500), 300, n_phrases=2)

    def updated(**fields: object) -> StreamOptions:
        return to_updated_options(pb.ConfigUpdate(**fields), had, INFO, n_phrases=2)  # type: ignore[arg-type]

    assert updated() == had
    assert updated(partial_interval_ms=0) == StreamOptions(had.endpointing, 0, 2)
    # As a whole: min_silence_ms is the default again.
    single = updated(endpointing=Endpointing(single_utterance=True))
    assert single.endpointing == EndpointRules(
        EndpointDetector.DECODER, 800, min_speech_ms=250, is_single=True
    )
    assert single.partial_interval_ms == 300
    off = updated(endpointing=Endpointing(detector=Endpointing.DETECTOR_OFF))
    assert off == StreamOptions(None, 300, 2)


def test_an_update_tells_all_that_is_bad_in_it() -> None:
    update = pb.ConfigUpdate(
        endpointing=Endpointing(state=9, min_silence_ms=1),  # type: ignore[arg-type]
        partial_interval_ms=-1,
    )
    with pytest.raises(InvalidConfig) as caught:
        to_updated_options(update, StreamOptions(), INFO, n_phrases=0)
    told = caught.value.in_update()
    fields = ["endpointing.state", "endpointing.min_silence_ms", "partial_interval_ms"]
    assert [violation.field for violation in told.violations] == [f"update.{f}" for f in fields]
    for violation in told.violations:
        assert f"{violation.field}: {violation.description}" in told.message
    assert "config." not in told.message


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            Endpointing(),
            Endpointing(detector="DETECTOR_DECODER", min_silence_ms=800, state="STATE_SOFT"),
        ),
        (
            Endpointing(
                detector="DETECTOR_END_TOKEN",
                max_utterance_ms=5000,
                no_speech_ms=4000,
                single_utterance=True,
            ),
            Endpointing(
                detector="DETECTOR_END_TOKEN",
                max_utterance_ms=5000,
                no_speech_ms=4000,
                state="STATE_SOFT",
                single_utterance=True,
            ),
        ),
        (
            Endpointing(detector="DETECTOR_VAD", state="STATE_HARD"),
            Endpointing(
                detector="DETECTOR_VAD",
                min_silence_ms=800,
                min_speech_ms=250,
                speech_threshold=0.5,
                state="STATE_HARD",
            ),
        ),
    ],
)
def test_what_holds_is_told_with_its_defaults(
    asked: pb.EndpointingConfig, told: pb.EndpointingConfig
) -> None:
    change = StreamOptions(options(endpointing=asked).endpointing, 200, n_phrases=3)
    updated = to_updated(Reconfigured(change, 24_000), 16_000)
    assert updated.endpointing == told
    assert updated.time.ToMilliseconds() == 1500
    assert (updated.partial_interval_ms, updated.phrases) == (200, 3)
