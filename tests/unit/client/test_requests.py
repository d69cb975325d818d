from __future__ import annotations

import pytest
from siren.v1 import speech_pb2 as pb

from siren_client.requests import MAX_DATA_BYTES, RequestSequence
from siren_client.types import Control


def make_sequence() -> RequestSequence:
    return RequestSequence(pb.StreamingConfig(model="m"))


def test_first_request_is_the_config():
    assert make_sequence().open() == pb.StreamingRecognizeRequest(
        config=pb.StreamingConfig(model="m")
    )


def test_each_item_of_audio_gets_the_next_number_and_controls_none():
    sequence = make_sequence()
    requests = [
        request
        for item in (b"ab", Control.FINALIZE, b"", Control.RESET, b"c")
        for request in sequence.push(item)
    ]
    assert [request.WhichOneof("request") for request in requests] == [
        "audio",
        "control",
        "audio",
        "control",
        "audio",
    ]
    assert [request.audio.seq for request in requests if request.HasField("audio")] == [1, 2, 3]
    assert [request.control.action for request in requests if request.HasField("control")] == [
        pb.Control.ACTION_FINALIZE,
        pb.Control.ACTION_RESET,
    ]


def test_bytes_like_items_are_audio():
    sequence = make_sequence()
    for item in (bytearray(b"xy"), memoryview(b"xy"), memoryview(b"xy").cast("h")):
        (request,) = sequence.push(item)
        assert request.audio.data == b"xy"


@pytest.mark.parametrize(
    ("n_bytes", "sizes"),
    [
        (MAX_DATA_BYTES, [MAX_DATA_BYTES]),
        (MAX_DATA_BYTES + 1, [MAX_DATA_BYTES, 1]),
        (2 * MAX_DATA_BYTES, [MAX_DATA_BYTES, MAX_DATA_BYTES]),
    ],
)
def test_a_large_item_is_cut_and_only_its_end_is_numbered(n_bytes, sizes):
    sequence = make_sequence()
    sequence.push(b"first")
    data = bytes(range(256)) * (n_bytes // 256) + b"\0" * (n_bytes % 256)
    requests = sequence.push(data)
    assert b"".join(request.audio.data for request in requests) == data
    assert [len(request.audio.data) for request in requests] == sizes
    assert [request.audio.seq for request in requests] == [0] * (len(sizes) - 1) + [2]
    assert sequence.push(b"next")[0].audio.seq == 3


def test_end_ends_the_sequence():
    sequence = make_sequence()
    assert not sequence.is_ended
    sequence.push(Control.END)
    assert sequence.is_ended
    with pytest.raises(AssertionError, match="after"):
        sequence.push(b"late")


@pytest.mark.parametrize("item", ["text", 7, None])
def test_what_is_not_audio_is_refused(item):
    with pytest.raises(TypeError, match=type(item).__name__):
        make_sequence().push(item)
