"""Promises 2 and 3, and the limits, where the audio says itself what it is."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import AudioSpec, make_source
from siren_grpc.domain.errors import InvalidAudio, SessionTooLong
from siren_grpc.domain.work import Chunk, EndStream, EndUtterance, Preview, Work
from tests.support.audio import RECORDINGS, read_wav
from tests.support.builders import make_ingress
from tests.support.encode import encode, wav

SPEECH = read_wav(RECORDINGS / "digits-male-16k.wav").samples[:16_000]
KINDS = {
    "WAV": Encoding.WAV,
    "FLAC": Encoding.FLAC,
    "OGG_OPUS": Encoding.OGG_OPUS,
    "WEBM_OPUS": Encoding.AUTO,
    "MP3": Encoding.AUTO,
}


@functools.cache
def encoded(kind: str) -> bytes:
    return wav(SPEECH.tobytes()) if kind == "WAV" else encode(kind, SPEECH, 16_000)


@functools.cache
def decodable(kind: str, n_bytes: int) -> int:
    """How many samples at 16 kHz the first bytes alone are."""
    source = make_source(AudioSpec(KINDS[kind], 0))
    list(source.push(encoded(kind)[:n_bytes]))
    hertz = source.sample_rate_hertz or 16_000
    return source.n_samples * 16_000 // hertz


def audio_of(work: list[Work]) -> bytes:
    return b"".join(item.samples.tobytes() for item in work if isinstance(item, Chunk))


@settings(max_examples=60)
@given(st.data(), st.sampled_from(sorted(KINDS)), st.sampled_from(["", "finalize", "reset"]))
def test_seq_and_cutting(data: st.DataObject, kind: str, control: str) -> None:
    """A control at one place, messages cut anywhere: the same chunks, and an honest seq."""
    whole = encoded(kind)
    at = data.draw(st.integers(0, len(whole) - 1))
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=20))

    def run(edges: list[int]) -> list[Work]:
        ingress = make_ingress(encoding=KINDS[kind], hertz=0, preview_samples=800)
        done: list[Work] = []
        for seq, (a, b) in enumerate(itertools.pairwise(edges), 1):
            for piece in ingress.audio_pieces(whole[a:b], seq):
                for item in piece:
                    if isinstance(item, Chunk | Preview):
                        heard = decodable(kind, edges[item.seq])
                        assert heard <= item.end_samples + 1, "accounted for, but not recognised"
                done += piece
            if b == at and control:
                done += (work := getattr(ingress, control)())
                for end in work:
                    if isinstance(end, EndUtterance):
                        assert decodable(kind, edges[end.seq]) <= end.end_samples + 1
        done += ingress.end()
        end = done[-2]
        assert isinstance(end, EndUtterance)
        assert end.seq == len(edges) - 1, "at the end all messages are accounted for"
        assert done[-1] == EndStream()
        return done

    at_once = run([0, at, len(whole)])
    in_pieces = run(sorted({0, at, len(whole), *cuts}))
    assert audio_of(in_pieces) == audio_of(at_once)


@pytest.mark.parametrize("kind", ["FLAC", "OGG_OPUS", "MP3"])
def test_the_limit_counts_decoded_audio(kind: str) -> None:
    ingress = make_ingress(encoding=Encoding.AUTO, hertz=0, max_samples=8000)
    *_, end, last = ingress.receive_audio(encoded(kind), 1)
    assert end == EndUtterance(8000, 0, end.cause)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, SessionTooLong)


def test_no_more_is_decoded_than_is_taken() -> None:
    """A hundred kilobytes that are an hour: the work is made as it is asked for."""
    hour = encode("FLAC", np.zeros(16_000 * 600, np.int16), 16_000, frame_size="16384")
    ingress = make_ingress(encoding=Encoding.FLAC, hertz=0)
    pieces = ingress.audio_pieces(hour, 1)
    next(pieces)
    assert ingress.received_samples < 4 * 16_000
    next(pieces)
    assert ingress.received_samples < 8 * 16_000


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_was_heard_before_the_audio_broke_gets_its_final(kind: str) -> None:
    ingress = make_ingress(encoding=KINDS[kind], hertz=0)
    data = encoded(kind)
    work = ingress.receive_audio(data[: len(data) * 3 // 4 + 1], 1)
    work += ingress.end()
    end, last = work[-2:]
    assert isinstance(end, EndUtterance)
    assert 4000 < end.end_samples < 16_000
    assert isinstance(last, EndStream)
    assert isinstance(last.error, InvalidAudio)
    assert ingress.is_ended


def test_bytes_behind_the_audio_are_accounted_for() -> None:
    """Too few for another chunk of the file, so nothing ever reads them."""
    ingress = make_ingress(encoding=Encoding.WAV, hertz=0)
    for seq, data in enumerate([encoded("WAV"), b"", b"abc"], 1):
        ingress.receive_audio(data, seq)
    end, _ = ingress.end()[-2:]
    assert isinstance(end, EndUtterance)
    assert end.seq == 3


def test_audio_that_never_began_gets_no_final() -> None:
    ingress = make_ingress(encoding=Encoding.FLAC, hertz=0)
    (last,) = ingress.receive_audio(b"this is text", 1)
    assert isinstance(last, EndStream)
    assert isinstance(last.error, InvalidAudio)
    assert ingress.is_ended


@pytest.mark.parametrize("control", ["finalize", "reset"])
def test_controls_before_the_header(control: str) -> None:
    ingress = make_ingress(encoding=Encoding.OGG_OPUS, hertz=0)
    data = encoded("OGG_OPUS")
    ingress.receive_audio(data[:10], 1)
    getattr(ingress, control)()
    work = [*ingress.receive_audio(data[10:], 2), *ingress.end()]
    end = work[-2]
    assert isinstance(end, EndUtterance)
    assert end.end_samples == pytest.approx(16_000, abs=1)
    assert end.seq == 2
