from __future__ import annotations

from random import Random

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from siren.v1 import speech_pb2 as pb

from siren_grpc.abuse import extremes, mutations
from siren_grpc.abuse.bad_calls import FAMILIES, BadCall, too_large

Request = pb.StreamingRecognizeRequest


def names() -> set[str]:
    paths = extremes.numeric_fields(Request.DESCRIPTOR)
    return {".".join(field.name for field in path) for path in paths}


def test_every_number_of_a_request_is_found() -> None:
    assert {
        "config.encoding",
        "config.sample_rate_hertz",
        "config.endpointing.speech_threshold",
        "config.biasing.phrases.boost",
        "update.endpointing.min_silence_ms",
        "audio.seq",
        "control.action",
        "resume.last_result",
    } <= names()


def test_every_extreme_fits_its_field() -> None:
    for path in extremes.numeric_fields(Request.DESCRIPTOR):
        for value in extremes.values_for(path[-1]):
            message = Request()
            extremes.put(message, path, value)
            assert message.ByteSize() > 0
            assert isinstance(path[-1], FieldDescriptor)


SMALL = [make for make, _ in FAMILIES if make is not too_large]


@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_a_request_is_its_seed(make: object) -> None:
    def made(seed: str) -> BadCall:
        return make(Random(seed))  # type: ignore[operator]

    assert made("1:1").messages == made("1:1").messages
    kinds = {made(f"1:{i}").name for i in range(20)}
    assert len(kinds) > 1 or next(iter(kinds)) in ("strange config", "recording")


@pytest.mark.parametrize("name", mutations.ALL)
def test_most_damaged_messages_do_not_decode(name: str) -> None:
    valid = Request(config=pb.StreamingConfig(language_code="en", words=True)).SerializeToString()
    random = Random(name)
    n_refused = 0
    for _ in range(200):
        try:
            Request.FromString(mutations.ALL[name](valid, random))
        except DecodeError:
            n_refused += 1
    # Unknown fields of any kind are valid, and so is what a flipped bit may make.
    assert n_refused >= (60 if name in ("deep", "flipped", "wrong_wire_type") else 120)
