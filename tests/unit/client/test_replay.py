from __future__ import annotations

import pytest
from siren.v1 import speech_pb2 as pb

from siren_client.replay import ReplayBuffer

HERTZ = 16_000
MS = 1_000_000


def audio(n_bytes: int, seq: int = 0) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=bytes(n_bytes), seq=seq))


def control(action: str) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(control=pb.Control(action=action))


def update(**fields: object) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(update=pb.ConfigUpdate(**fields))


FINALIZE = control("ACTION_FINALIZE")
RESET = control("ACTION_RESET")


def make_buffer(*requests, max_bytes: int = 1 << 20, **config) -> ReplayBuffer:
    buffer = ReplayBuffer(pb.StreamingConfig(**config), max_bytes=max_bytes)
    for request in requests:
        buffer.append(request)
        buffer.trim(buffer.end)
    return buffer


def note(buffer, start_ms, end_ms, resume_ms, *, is_finalize=False) -> None:
    buffer.note_final(
        start_ns=start_ms * MS,
        end_ns=end_ms * MS,
        resume_ns=resume_ms * MS,
        is_finalize=is_finalize,
    )


def replayed(buffer: ReplayBuffer) -> list:
    first = buffer.start_replay()
    requests = [buffer.get(index) for index in range(first, buffer.end)]
    return [
        (len(r.audio.data), r.audio.seq) if r.HasField("audio") else r.WhichOneof("request")
        for r in requests
    ]


def test_without_a_final_everything_is_sent_again():
    buffer = make_buffer(audio(3200, 1), FINALIZE, audio(3200, 2))
    assert replayed(buffer) == [(3200, 1), "control", (3200, 2)]
    assert buffer.start_ns == 0


def test_a_finalize_that_was_answered_is_not_asked_again():
    buffer = make_buffer(audio(3200, 1), FINALIZE, FINALIZE, RESET, audio(3200, 2))
    note(buffer, 0, 100, 100, is_finalize=True)
    assert replayed(buffer) == ["control", "control", (3200, 2)]
    note(buffer, 100, 100, 100, is_finalize=True)
    assert replayed(buffer) == ["control", (3200, 2)]
    assert buffer.start_ns == 100 * MS


def test_behind_a_hard_endpoint_audio_is_cut_at_a_sample():
    buffer = make_buffer(audio(3201, 1), audio(3199, 2), audio(3200, 3))
    note(buffer, 0, 250, 150)
    assert replayed(buffer) == [(1600, 2), (3200, 3)]
    assert buffer.start_ns == 150 * MS
    assert buffer.repeats_until_ns is None


def test_behind_a_soft_endpoint_all_since_the_fresh_start_is_repeated():
    buffer = make_buffer(audio(3200, 1), audio(3200, 2), audio(3200, 3))
    note(buffer, 0, 150, 0)
    assert replayed(buffer) == [(3200, 1), (3200, 2), (3200, 3)]
    assert buffer.repeats_until_ns == 150 * MS


def test_a_full_buffer_does_without_the_fresh_start_but_not_without_the_last_final():
    buffer = make_buffer(audio(3200, 1), audio(3200, 2), max_bytes=10_000)
    note(buffer, 0, 150, 0)
    for seq in (3, 4):
        buffer.append(audio(3200, seq))
        buffer.trim(buffer.end)
    assert buffer.can_replay
    assert buffer.repeats_until_ns is None
    assert replayed(buffer) == [(1600, 2), (3200, 3), (3200, 4)]


def test_an_utterance_longer_than_the_buffer_cannot_be_replayed_until_the_next_final():
    buffer = make_buffer(*(audio(3200, seq) for seq in range(1, 6)), max_bytes=8000)
    assert not buffer.can_replay
    note(buffer, 0, 450, 0)
    assert buffer.can_replay
    assert replayed(buffer) == [(1600, 5)]


def test_what_was_not_sent_is_never_forgotten():
    buffer = ReplayBuffer(pb.StreamingConfig(), max_bytes=0)
    for seq in (1, 2, 3):
        buffer.append(audio(100, seq))
    buffer.trim(1)
    assert (buffer.first, buffer.get(1).audio.seq) == (1, 2)


def test_updates_before_the_point_of_replay_become_config():
    rules = pb.EndpointingConfig(min_silence_ms=500)
    later = pb.EndpointingConfig(detector="DETECTOR_OFF")
    buffer = make_buffer(
        *(update(endpointing=rules, partial_interval_ms=100), audio(3200, 1)),
        *(update(endpointing=later), FINALIZE, update(partial_interval_ms=0), audio(3200, 2)),
        model="m",
    )
    note(buffer, 0, 100, 100, is_finalize=True)
    assert replayed(buffer) == ["update", (3200, 2)]
    assert buffer.config == pb.StreamingConfig(
        model="m", endpointing=later, partial_interval_ms=100
    )
    assert buffer.n_folded_updates == 2


def test_every_field_of_an_update_is_one_of_the_config():
    config = pb.StreamingConfig.DESCRIPTOR.fields_by_name
    for field in pb.ConfigUpdate.DESCRIPTOR.fields:
        assert config[field.name].type == field.type


@pytest.mark.parametrize("encoding", [99])
def test_audio_that_cannot_be_cut_is_sent_again_from_the_start(encoding):
    buffer = make_buffer(audio(3200, 1), FINALIZE, audio(3200, 2), encoding=encoding)
    note(buffer, 0, 100, 100, is_finalize=True)
    assert replayed(buffer) == [(3200, 1), "control", (3200, 2)]
    assert (buffer.n_answered_finalizes, buffer.repeats_until_ns) == (1, 100 * MS)


def test_a_reset_behind_a_time_is_found():
    buffer = make_buffer(audio(3200, 1), RESET, audio(3200, 2), RESET)
    assert [buffer.reset_behind(ms * MS) for ms in (0, 100, 101, 201)] == [
        100 * MS,
        100 * MS,
        200 * MS,
        None,
    ]


def test_a_sample_of_several_channels_is_found():
    buffer = make_buffer(audio(6400, 1), audio(6400, 2), channel_count=2)
    note(buffer, 0, 100, 50)
    assert replayed(buffer) == [(3200, 1), (6400, 2)]


@pytest.mark.parametrize("behind", [[], [audio(320, 3)]])
def test_a_finalize_that_was_forgotten_is_answered_all_the_same(behind):
    buffer = make_buffer(audio(3200, 1), audio(3200, 2), FINALIZE, max_bytes=0)
    assert not buffer.can_replay
    for request in behind:
        buffer.append(request)
    note(buffer, 0, 200, 200, is_finalize=True)
    assert buffer.can_replay
    assert replayed(buffer) == [(320, 3) for _ in behind]
    assert buffer.start_ns == 200 * MS
