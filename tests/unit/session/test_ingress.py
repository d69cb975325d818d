"""Promises 2 and 3 where they are made: the work a stream's messages amount to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.audio.decode import Encoding
from siren_grpc.domain.errors import InvalidAudio, InvalidMessage, SessionTooLong
from siren_grpc.domain.types import (
    Chunk,
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Preview,
    Work,
)
from siren_grpc.session.ingress import Ingress
from tests.support.builders import make_ingress

NOISE = np.random.default_rng(5)


def noise(n_bytes: int) -> bytes:
    return NOISE.integers(-3000, 3000, n_bytes // 2, dtype=np.int16).tobytes()


@dataclass(frozen=True)
class Say:
    """A stretch of audio and the control behind it."""

    data: bytes
    control: str


def run(ingress: Ingress, script: list[Say], cuts: list[int], *, numbered: bool) -> list[Work]:
    work: list[Work] = []
    seq = 0
    sizes = iter(cuts)
    for say in script:
        start = 0
        while start < len(say.data):
            size = next(sizes, 0) or len(say.data)
            seq += 1
            piece = say.data[start : start + size]
            work += ingress.receive_audio(piece, seq if numbered else 0)
            start += size
        if say.control:
            work += getattr(ingress, say.control)()
    return [*work, *ingress.end()]


def essence(work: list[Work]) -> list[tuple[object, ...]]:
    """Everything of the work but previews and the client's numbers."""
    facts: list[tuple[object, ...]] = []
    for item in work:
        if isinstance(item, Chunk):
            facts.append(
                (item.samples.tobytes(), item.feature_frames, item.is_first, item.end_samples)
            )
        elif isinstance(item, EndUtterance | DiscardUtterance):
            facts.append((type(item).__name__, item.end_samples))
        elif isinstance(item, EndStream):
            facts.append(("end", item.error))
    return facts


SCRIPTS = st.lists(
    st.builds(
        Say,
        st.integers(0, 12_000).map(lambda n: noise(2 * n)),
        st.sampled_from(["", "finalize", "reset"]),
    ),
    max_size=4,
)
CUTS = st.lists(st.integers(1, 9000), max_size=30)


@settings(max_examples=60, deadline=None)
@given(SCRIPTS, CUTS, st.sampled_from([8000, 16000, 22050]), st.sampled_from([1, 2, 7]))
def test_cutting_does_not_matter(
    script: list[Say], cuts: list[int], hertz: int, chunk_frames: int
) -> None:
    def ingress(preview_samples: int) -> Ingress:
        return make_ingress(
            hertz=hertz,
            chunk_frames=chunk_frames,
            preview_samples=preview_samples,
            padding_samples=1000,
        )

    at_once = run(ingress(0), script, [], numbered=False)
    in_pieces = run(ingress(800), script, cuts, numbered=True)
    assert essence(in_pieces) == essence(at_once)


@settings(max_examples=60, deadline=None)
@given(SCRIPTS, CUTS)
def test_seq_is_the_last_message_all_of_whose_audio_is_accounted_for(
    script: list[Say], cuts: list[int]
) -> None:
    """Against an oracle that knows where each message ends, at 16 kHz without resampling."""
    ingress = make_ingress(preview_samples=700)
    ends: list[tuple[int, int]] = []
    heard, seq = 0, 0
    sizes = iter(cuts)

    def oracle(end_samples: int) -> int:
        return max((number for number, end in ends if end <= end_samples), default=0)

    for say in script:
        start = 0
        while start < len(say.data):
            piece = say.data[start : start + (next(sizes, 0) or len(say.data))]
            start += len(piece)
            heard += len(piece)
            seq += 2
            ends.append((seq, -(-heard // 2)))
            for item in ingress.receive_audio(piece, seq):
                assert isinstance(item, Chunk | Preview)
                assert item.seq == oracle(item.end_samples)
        if say.control:
            for item in getattr(ingress, say.control)():
                if isinstance(item, EndUtterance):
                    assert item.seq == seq
    assert ingress.end()[-2] == EndUtterance(heard // 2, seq)


def test_messages_without_a_number_leave_seq_as_it_is() -> None:
    ingress = make_ingress()
    ingress.receive_audio(bytes(20_000), 3)
    ingress.receive_audio(bytes(20_000), 0)
    end = ingress.end()[-2]
    assert isinstance(end, EndUtterance)
    assert end.seq == 3


@pytest.mark.parametrize("second", [5, 4, 1])
def test_seq_must_increase(second: int) -> None:
    ingress = make_ingress()
    ingress.receive_audio(b"", 5)
    with pytest.raises(InvalidMessage, match=f"{second} after 5"):
        ingress.receive_audio(b"", second)


@pytest.mark.parametrize("late", ["audio", "finalize", "reset", "end"])
def test_nothing_may_follow_the_end(late: str) -> None:
    ingress = make_ingress()
    ingress.end()
    assert ingress.is_ended
    with pytest.raises(InvalidMessage, match="after ACTION_END"):
        ingress.receive_audio(b"", 0) if late == "audio" else getattr(ingress, late)()


@pytest.mark.parametrize(("encoding", "n_bytes"), [(Encoding.LINEAR16, 3), (Encoding.FLOAT32, 6)])
def test_half_a_sample_at_the_end_is_refused(encoding: Encoding, n_bytes: int) -> None:
    ingress = make_ingress(encoding=encoding)
    ingress.receive_audio(bytes(n_bytes), 0)
    with pytest.raises(InvalidAudio, match=f"{n_bytes} bytes of {encoding.value}"):
        ingress.end()
    assert ingress.is_ended


def test_an_empty_stream_has_one_utterance() -> None:
    assert make_ingress(padding_samples=8000).end() == [EndUtterance(0, 0), EndStream()]


def test_padding_is_heard_but_is_no_time() -> None:
    ingress = make_ingress(padding_samples=5000)
    *chunks, end, _ = [*ingress.receive_audio(noise(2 * 4000), 1), *ingress.end()]
    assert sum(len(chunk.samples) for chunk in chunks if isinstance(chunk, Chunk)) > 4000
    assert all(c.end_samples <= 4000 for c in chunks if isinstance(c, Chunk))
    assert end == EndUtterance(4000, 1)


def test_each_utterance_begins_with_a_first_chunk() -> None:
    ingress = make_ingress()
    work = [*ingress.receive_audio(noise(20_000), 0), *ingress.finalize()]
    work += [*ingress.receive_audio(noise(20_000), 0), *ingress.reset()]
    work += [*ingress.receive_audio(noise(20_000), 0), *ingress.end()]
    kinds = [
        ("first" if item.is_first else "next") if isinstance(item, Chunk) else type(item).__name__
        for item in work
        if not isinstance(item, Preview)
    ]
    assert kinds.count("first") == 3
    assert kinds[0] == "first"
    assert kinds[kinds.index("EndUtterance") + 1] == "first"
    assert kinds[kinds.index("DiscardUtterance") + 1] == "first"


@pytest.mark.parametrize("hertz", [8000, 16000])
def test_the_limit_cuts_the_stream_and_still_earns_a_final(hertz: int) -> None:
    ingress = make_ingress(hertz=hertz, max_samples=16_000, padding_samples=1000)
    work = ingress.receive_audio(noise(2 * 3 * hertz), 1)
    assert ingress.is_ended
    *_, end, last = work
    assert end == EndUtterance(16_000, 1)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, SessionTooLong)
    assert "1 s of audio" in last.error.message


def test_previews_come_as_the_chunk_grows_and_not_without_being_asked_for() -> None:
    def previews(preview_samples: int) -> list[int]:
        ingress = make_ingress(chunk_frames=14, preview_samples=preview_samples)
        work = [w for _ in range(40) for w in ingress.receive_audio(noise(2 * 400), 0)]
        return [len(w.samples) for w in work if isinstance(w, Preview)]

    assert previews(0) == []
    assert previews(4000) == [4000, 8000, 12_000, 16_000]
