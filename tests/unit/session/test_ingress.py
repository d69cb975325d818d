"""Promises 2 and 3 where they are made: the work a stream's messages amount to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from siren_grpc.audio.channels import ChannelPlan
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.resample import Resampler
from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.domain.errors import InvalidAudio, InvalidMessage, SessionTooLong
from siren_grpc.domain.work import (
    Chunk,
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Preview,
    Reconfigure,
    StreamOptions,
    Voice,
    Work,
)
from siren_grpc.session.ingress import Ingress
from tests.support.builders import make_ingress
from tests.support.encode import wav


def noise(n_bytes: int, encoding: Encoding = Encoding.LINEAR16) -> bytes:
    """Bytes in an encoding that depend on nothing but their number; the last may split a sample."""
    generator = np.random.default_rng(n_bytes)
    if encoding is Encoding.FLOAT32:
        return generator.uniform(-1, 1, n_bytes // 4 + 1).astype("<f4").tobytes()[:n_bytes]
    return generator.integers(-3000, 3000, n_bytes // 2 + 1, dtype="<i2").tobytes()[:n_bytes]


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


CONTROLS = st.sampled_from(["", "finalize", "reset"])
CUTS = st.lists(st.integers(1, 9000), max_size=30)


@st.composite
def scripts(draw: st.DrawFn, encoding: Encoding = Encoding.LINEAR16) -> list[Say]:
    """Stretches of audio and controls, which may stand within a sample; whole at the end."""
    width = encoding.sample_bytes
    sizes = draw(st.lists(st.integers(0, 12_000 * width), max_size=4))
    sizes.append(-sum(sizes) % width)
    data = noise(sum(sizes), encoding)
    ends = list(itertools.accumulate(sizes, initial=0))
    return [Say(data[a:b], draw(CONTROLS)) for a, b in itertools.pairwise(ends)]


@settings(max_examples=100)
@given(
    st.data(),
    st.sampled_from([encoding for encoding in Encoding if encoding.is_raw]),
    st.sampled_from([8000, 16000, 22050, 48000]),
    st.sampled_from([1, 2, 7]),
)
def test_cutting_does_not_matter(
    data: st.DataObject, encoding: Encoding, hertz: int, chunk_frames: int
) -> None:
    def ingress(preview_samples: int) -> Ingress:
        return make_ingress(
            encoding=encoding,
            hertz=hertz,
            chunk_frames=chunk_frames,
            preview_samples=preview_samples,
            padding_samples=1000,
        )

    script = data.draw(scripts(encoding))
    at_once = run(ingress(0), script, [], numbered=False)
    in_pieces = run(ingress(800), script, data.draw(CUTS), numbered=True)
    assert essence(in_pieces) == essence(at_once)


@settings(max_examples=100)
@given(scripts(), CUTS, st.integers(1, 3))
def test_seq_is_the_last_message_all_of_whose_audio_is_accounted_for(
    script: list[Say], cuts: list[int], step: int
) -> None:
    """Against an oracle that knows where each message ends, at 16 kHz without resampling."""
    ingress = make_ingress(preview_samples=700)
    ends: list[tuple[int, int]] = []
    n_bytes, seq = 0, 0
    sizes = iter(cuts)

    def assert_seqs(work: list[Work]) -> None:
        for item in work:
            if isinstance(item, Chunk | Preview | EndUtterance):
                due = [number for number, end in ends if end <= 2 * item.end_samples]
                assert item.seq == max(due, default=0)

    for say in script:
        start = 0
        while start < len(say.data):
            piece = say.data[start : start + (next(sizes, 0) or len(say.data))]
            start += len(piece)
            n_bytes += len(piece)
            seq += step
            ends.append((seq, n_bytes))
            assert_seqs(ingress.receive_audio(piece, seq))
        if say.control:
            assert_seqs(getattr(ingress, say.control)())
    assert ingress.end()[-2] == EndUtterance(n_bytes // 2, seq)


@settings(max_examples=100)
@given(
    st.sampled_from([8000, 11025, 22050, 44100, 48000]),
    st.lists(st.integers(1, 9000), min_size=1, max_size=30),
)
def test_seq_counts_time_whatever_the_rate(hertz: int, sizes: list[int]) -> None:
    ingress = make_ingress(hertz=hertz, preview_samples=700)
    work: list[Work] = []
    heard = np.cumsum(sizes)
    for seq, size in enumerate(sizes, 1):
        work += ingress.receive_audio(noise(2 * size), seq)
        for item in work:
            if isinstance(item, Chunk | Preview):
                assert item.seq == np.count_nonzero(
                    heard[:seq] * 16_000 <= item.end_samples * hertz
                )
        work.clear()
    end = ingress.end()[-2]
    assert isinstance(end, EndUtterance)
    assert end.seq == len(sizes)


@given(st.sampled_from([8000, 16000, 44100, 48000]), st.integers(2000, 4000))
def test_a_sample_split_by_a_control_belongs_to_the_utterance_behind_it(
    hertz: int, n_samples: int
) -> None:
    ingress = make_ingress(hertz=hertz)
    ingress.receive_audio(noise(2 * n_samples), 1)
    ingress.receive_audio(b"\x01", 2)
    for item in ingress.finalize():
        assert isinstance(item, Chunk | EndUtterance)
        assert item.seq <= 1, "half of message 2's sample was not heard yet"
    ingress.receive_audio(b"\x01", 3)
    end = ingress.end()[-2]
    assert isinstance(end, EndUtterance)
    assert end.seq == 3


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
    end, last = ingress.end()[-2:]
    assert isinstance(end, EndUtterance)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, InvalidAudio)
    assert f"{n_bytes} bytes of {encoding.value}" in last.error.message
    assert ingress.is_ended


@pytest.mark.parametrize("encoding", [Encoding.FLOAT32, Encoding.WAV])
@pytest.mark.parametrize("n_bytes", [1 << 20, 9001, 4000])
def test_what_comes_before_a_bad_sample_is_heard_however_it_is_cut(
    encoding: Encoding, n_bytes: int
) -> None:
    """In two channels: the bad sample spoils its own point in time, and no other."""
    samples = np.full((16_000, 2), 0.25, "<f4")
    samples[12_000, 1] = np.nan
    data = samples.tobytes()
    if encoding is Encoding.WAV:
        data = wav(data, tag=3, bits=32, n_channels=2)
    ingress = make_ingress(encoding=encoding, channels=ChannelPlan(2))
    edges = [*range(0, len(data), n_bytes), len(data)]
    work: list[Work] = []
    for seq, (a, b) in enumerate(itertools.pairwise(edges), 1):
        if not ingress.is_ended:
            work += ingress.receive_audio(data[a:b], seq)
    end, last = work[-2:]
    broken_at = len(data) - 4000 * 8
    whole = sum(edge <= broken_at for edge in edges[1:])
    assert end == EndUtterance(12_000, whole, FinalCause.END)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, InvalidAudio)
    assert "NaN or infinity" in last.error.message


def test_an_empty_stream_has_one_utterance() -> None:
    assert make_ingress(padding_samples=8000).end() == [EndUtterance(0, 0), EndStream()]


def test_padding_is_heard_but_is_no_time() -> None:
    ingress = make_ingress(padding_samples=5000)
    *chunks, end, _ = [*ingress.receive_audio(noise(2 * 4000), 1), *ingress.end()]
    assert sum(len(chunk.samples) for chunk in chunks if isinstance(chunk, Chunk)) > 4000
    assert all(c.end_samples <= 4000 for c in chunks if isinstance(c, Chunk))
    assert end == EndUtterance(4000, 1)


@pytest.mark.parametrize("hertz", [8000, 11025, 16000, 48000])
def test_all_audio_before_a_control_is_in_its_utterance(hertz: int) -> None:
    """Promise 4: what the resampler still held is recognised, too, not carried over or lost."""
    ingress = make_ingress(hertz=hertz, padding_samples=1000)
    pcm = noise(2 * hertz)
    for end in ("finalize", "end"):
        work = [*ingress.receive_audio(pcm, 0), *getattr(ingress, end)()]
        chunks = [item.samples for item in work if isinstance(item, Chunk)]
        resampler = Resampler(hertz, 16_000)
        samples = resampler.push(np.frombuffer(pcm, "<i2").astype("f4") / 32768)
        expected = np.concatenate([samples, resampler.flush(), np.zeros(1000, "f4")])
        joined = np.concatenate(chunks)
        np.testing.assert_array_equal(joined, expected[: len(joined)])
        assert len(joined) > 16_000
    end_samples = [item.end_samples for item in work if isinstance(item, EndUtterance)]
    assert end_samples == [pytest.approx(32_000, abs=2)]


@pytest.mark.parametrize("hertz", [8000, 24000, 44100, 48000])
def test_a_chunk_comes_with_the_packet_that_completes_it(hertz: int) -> None:
    """What the resampler holds back makes no result wait for another packet of 20 ms."""

    def packets_of_chunks(hertz: int) -> list[int]:
        ingress = make_ingress(hertz=hertz, chunk_frames=7)
        packet = bytes(2 * hertz // 50)
        return [n for n in range(300) for _ in chunks_of(ingress.receive_audio(packet, 0))]

    assert packets_of_chunks(hertz) == packets_of_chunks(16_000)


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
    ingress.receive_audio(noise(hertz), 1)
    work = ingress.receive_audio(noise(2 * 3 * hertz), 2)
    assert ingress.is_ended
    *_, end, last = work
    # Promise 2: message 2 lies in part behind the limit, so it is not accounted for.
    assert end == EndUtterance(16_000, 1, FinalCause.SESSION_LIMIT)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, SessionTooLong)
    assert "1 s of audio" in last.error.message


def test_the_limit_holds_where_an_utterance_ended_right_at_it() -> None:
    """The resampler holds a little back; ACTION_FINALIZE draws it, here across the limit."""
    ingress = make_ingress(hertz=8000, max_samples=16_000)
    ingress.receive_audio(noise(2 * 8010), 1)
    assert not ingress.is_ended
    ingress.finalize()
    *_, end, last = ingress.receive_audio(noise(2 * 8000), 2)
    assert end == EndUtterance(16_020, 1, FinalCause.SESSION_LIMIT)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, SessionTooLong)


def test_previews_come_as_the_chunk_grows_and_not_without_being_asked_for() -> None:
    def previews(preview_samples: int) -> list[int]:
        ingress = make_ingress(chunk_frames=14, preview_samples=preview_samples)
        work = [w for _ in range(40) for w in ingress.receive_audio(noise(2 * 400), 0)]
        return [len(w.samples) for w in work if isinstance(w, Preview)]

    assert previews(0) == []
    assert previews(4000) == [4000, 8000, 12_000, 16_000]


HARD = EndpointRules(EndpointDetector.DECODER, min_silence_ms=800, is_hard=True)


def chunks_of(work: list[Work]) -> list[Chunk]:
    return [item for item in work if isinstance(item, Chunk)]


@settings(max_examples=60, deadline=None)
@given(
    hertz=st.sampled_from([8000, 16000]),
    sizes=st.lists(st.integers(1, 9000), min_size=1, max_size=8),
    heard=st.integers(0, 8),
    back=st.floats(0, 1),
    is_ended=st.booleans(),
)
@example(hertz=8000, sizes=[1, 1, 925, 1790, 9000, 1], heard=0, back=0.0, is_ended=False)
def test_behind_a_rewind_the_audio_is_cut_as_a_new_stream_is(
    *, hertz: int, sizes: list[int], heard: int, back: float, is_ended: bool
) -> None:
    options = StreamOptions(HARD)
    ingress = make_ingress(hertz=hertz, padding_samples=1000, options=options)
    audio = noise(2 * sum(sizes))
    work: list[Work] = []
    before: list[Chunk] = []
    start = 0
    for seq, size in enumerate(sizes, start=1):
        before = chunks_of(work) or before
        work = ingress.receive_audio(audio[2 * start : 2 * (start + size)], seq)
        start += size
    if is_ended:
        work += ingress.end()
    chunks = chunks_of(work)
    if not chunks:
        return
    # What came before the last message has been recognised: the session waits for that.
    at_chunk = min(heard, len(chunks) - 1)
    ends = [0, *(chunk.end_samples for chunk in [*before, *chunks])]
    previous = ends[-len(chunks) + at_chunk - 1]
    at = int(previous + back * (chunks[at_chunk].end_samples - previous))
    tail = work[next(i for i, item in enumerate(work) if item is chunks[at_chunk]) :]
    anew = ingress.rewind(at, 0, tail)

    resampler = Resampler(hertz, 16000)
    heard_samples = resampler.push(
        np.frombuffer(audio, "<i2").astype(np.float32) * np.float32(1 / 32768)
    )
    if is_ended:
        heard_samples = np.concatenate([heard_samples, resampler.flush()])
    expected = make_ingress(padding_samples=1000, encoding=Encoding.FLOAT32)
    from_there = expected.receive_audio(heard_samples[at:].tobytes(), 0)
    if is_ended:
        from_there += expected.end()
    pairs = list(zip(chunks_of(anew), chunks_of(from_there), strict=True))
    for mine, theirs in pairs:
        assert np.array_equal(mine.samples, theirs.samples)
        assert (mine.is_first, mine.is_last) == (theirs.is_first, theirs.is_last)
        assert mine.end_samples == at + theirs.end_samples
    # Promise 2: nothing is accounted for before all of its audio is.
    ends = list(itertools.accumulate(sizes))
    for chunk in chunks_of(anew):
        sent = [seq for seq, end in enumerate(ends, 1) if end * 16000 <= chunk.end_samples * hertz]
        assert chunk.seq <= max(sent, default=0)
    if is_ended:
        assert [type(item) for item in anew[-2:]] == [EndUtterance, EndStream]


def test_after_a_rewind_the_stream_goes_on() -> None:
    ingress = make_ingress(options=StreamOptions(HARD))
    first = chunks_of(ingress.receive_audio(noise(2 * 6000), 1))
    anew = chunks_of(ingress.rewind(2000, 0, first))
    more = chunks_of(ingress.receive_audio(noise(2 * 6000), 2))
    assert [chunk.is_first for chunk in [*anew, *more]] == [True] + [False] * (
        len(anew) + len(more) - 1
    )
    spans = [len(chunk.samples) for chunk in [*anew, *more]]
    ends = [chunk.end_samples for chunk in [*anew, *more]]
    assert ends == [2000 + end for end in itertools.accumulate(spans)]


def test_a_message_that_ends_behind_two_rewinds_is_accounted_for() -> None:
    ingress = make_ingress(chunk_frames=7, options=StreamOptions(HARD))
    chunks: list[Chunk] = []
    seq = 0
    while len(chunks) < 2:
        seq += 1
        chunks += chunks_of(ingress.receive_audio(noise(2 * 500), seq))
    at = chunks[0].end_samples - 1600  # in the silence before the second chunk's endpoint
    once = chunks_of(ingress.rewind(at, 0, chunks[1:]))
    later = chunks_of(ingress.rewind(at + 1600, 0, once))
    while len(later) < 2:
        seq += 1
        later += chunks_of(ingress.receive_audio(noise(2 * 500), seq))
    marked = [mark for chunk in later for mark in chunk.marks]
    assert marked == sorted(marked)
    behind = [s for s in range(1, seq + 1) if at + 1600 < 500 * s <= later[-1].end_samples]
    assert [s for end, s in marked if end > at + 1600] == behind


def test_what_the_resampler_gave_up_at_resets_is_missing_nowhere_behind_them() -> None:
    ingress = make_ingress(hertz=8000, options=StreamOptions(HARD))
    for _ in range(6):
        ingress.receive_audio(noise(2 * 4000), 0)
        (discard,) = ingress.reset()
    assert isinstance(discard, DiscardUtterance)
    first, *more = chunks_of(ingress.receive_audio(noise(2 * 16_000), 0))
    again = chunks_of(ingress.rewind(discard.end_samples, 0, [first, *more]))
    for mine, theirs in zip(again, [first, *more], strict=True):
        assert np.array_equal(mine.samples, theirs.samples)
        assert mine.end_samples == theirs.end_samples


def test_marks_tell_where_messages_end_within_a_chunk() -> None:
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=800)
    ingress = make_ingress(hertz=8000, options=StreamOptions(rules))
    chunks = [
        chunk
        for seq in range(1, 60)
        for chunk in chunks_of(ingress.receive_audio(noise(2 * 250), seq))
    ]
    marks = [mark for chunk in chunks for mark in chunk.marks]
    assert marks == [(500 * seq, seq) for seq in range(1, len(marks) + 1)]
    assert len(marks) > 20
    assert all(chunk.marks[-1][1] == chunk.seq for chunk in chunks)
    plain = make_ingress()
    assert all(not chunk.marks for chunk in chunks_of(plain.receive_audio(noise(40_000), 1)))


def test_other_options_hold_from_the_next_chunk_on() -> None:
    ingress = make_ingress()
    work = ingress.receive_audio(noise(2 * 5000), 1)
    end = chunks_of(work)[-1].end_samples
    assert ingress.reconfigure(StreamOptions(HARD)) == [Reconfigure(StreamOptions(HARD), end)]
    more = chunks_of(ingress.receive_audio(noise(2 * 5000), 2))
    # A rewind reaches back to the change, and no further.
    assert chunks_of(ingress.rewind(end, 1, more))[0].is_first


def test_only_what_a_stop_cuts_off_is_cut_short() -> None:
    rules = EndpointRules(EndpointDetector.DECODER, min_silence_ms=300, is_hard=True)
    ingress = make_ingress(options=StreamOptions(rules), padding_samples=8000)
    before = ingress.receive_audio(noise(2 * 30_000), 1)
    behind = ingress.finalize(FinalCause.SHUTDOWN)
    chunks = [item for item in (*before, *behind) if isinstance(item, Chunk)]
    n_whole = sum(isinstance(item, Chunk) for item in before)
    assert n_whole > 1
    assert [chunk.is_cut_short for chunk in chunks] == [
        *[False] * n_whole,
        *[True] * (len(chunks) - n_whole),
    ]
    assert not chunks[-1].samples.any()
    again = ingress.rewind(1000, 0, [*before[n_whole - 1 :], *behind])
    recut = [item.is_cut_short for item in again if isinstance(item, Chunk)]
    assert recut == sorted(recut)
    assert recut[-1]
    assert not recut[0]


def test_audio_up_to_the_limit_is_within_it() -> None:
    ingress = make_ingress(max_samples=16_000)
    assert not any(isinstance(i, EndStream) for i in ingress.receive_audio(bytes(32_000), 1))
    *_, end = ingress.receive_audio(bytes(2), 2)
    assert isinstance(end, EndStream)
    assert isinstance(end.error, SessionTooLong)


def test_audio_thrown_away_is_audio_that_came() -> None:
    """What the resampler held counts: the limit, and the places of what follows, are in it."""
    ingress = make_ingress(hertz=8000)
    ingress.receive_audio(bytes(2 * 8000), 1)
    [discarded] = ingress.reset()
    assert discarded == DiscardUtterance(16_000)
    *_, end, _ = ingress.end()
    assert isinstance(end, EndUtterance)
    assert end.end_samples == 16_000


def test_the_detector_hears_afresh_where_its_rules_are_new() -> None:
    def heard(work: list[Work]) -> list[Voice]:
        return [item.voice for item in work if isinstance(item, Chunk)]

    by_voice = StreamOptions(EndpointRules(EndpointDetector.VAD, min_silence_ms=800))
    ingress = make_ingress(options=by_voice)
    second = bytes(2 * 5120)  # two chunks, when it is not the first
    assert heard(ingress.receive_audio(bytes(2 * 4000), 0)) == [Voice.FRESH]
    assert heard(ingress.receive_audio(second, 0)) == [Voice.ON, Voice.ON]
    ingress.reconfigure(StreamOptions(by_voice.endpointing, partial_interval_ms=500))
    assert heard(ingress.receive_audio(second, 0)) == [Voice.ON, Voice.ON]
    ingress.reconfigure(StreamOptions())
    assert heard(ingress.receive_audio(second, 0)) == [Voice.OFF, Voice.OFF]
    ingress.reconfigure(by_voice)
    assert heard(ingress.receive_audio(second, 0)) == [Voice.FRESH, Voice.ON]
    ingress.finalize()
    assert heard(ingress.receive_audio(second, 0))[0] is Voice.FRESH


def test_a_chunk_that_has_just_begun_is_not_looked_at_again() -> None:
    """However much of the chunk before it had been looked at."""
    ingress = make_ingress(preview_samples=1600, chunk_frames=7)
    n_previews = [
        sum(isinstance(item, Preview) for item in ingress.receive_audio(bytes(2 * 800), 0))
        for _ in range(24)
    ]
    # 7,880 samples make the first chunk, 8,960 each of the others; each 1,600 behind are due.
    assert n_previews == [0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1]


def test_audio_that_nobody_can_ask_for_again_is_let_go_of() -> None:
    hard = EndpointRules(EndpointDetector.DECODER, min_silence_ms=800, is_hard=True)
    ingress = make_ingress(options=StreamOptions(hard))
    for _ in range(600):
        ingress.receive_audio(bytes(3200), 0)
    with pytest.raises(AssertionError, match="is not in"):
        ingress.rewind(ingress.received_samples - 5 * 16_000, 0, [])
