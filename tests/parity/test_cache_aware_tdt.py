"""A token-and-duration transducer with a cache-aware encoder: durations reach over borders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.models.loader import load
from siren_grpc.models.nemo_backend import NemoBackend
from tests.parity.conftest import Pair
from tests.parity.random_batches import assert_mates_change_nothing, recordings, stepped_alone
from tests.parity.siren_path import assert_speaks, recognise
from tests.support import sounds

pytestmark = pytest.mark.parity

TDT = DecoderKind.TDT


@pytest.mark.parametrize("chunk_frames", [2, 7, 14])
def test_tokens_and_frames_are_those_of_the_whole_recording(
    pair_of: Callable[[str], Pair], chunk_frames: int
) -> None:
    """With one encoder frame a step NeMo's streaming is not its offline pass: `test_streaming`."""
    pair = pair_of("tdt")
    assert pair.siren.info.decoders == (TDT,)
    heard = []
    for samples in (sounds.babble(80_000, seed=1), sounds.telephone(50_000, seed=2)):
        ours = recognise(pair.siren, samples, Lane(chunk_frames, TDT))
        theirs = pair.nemo.decode_offline(samples, (70, chunk_frames - 1), "tdt")
        assert ours.tokens == theirs.tokens
        assert ours.frames == theirs.frames
        assert ours.text.strip() == theirs.text.strip()
        heard.append(ours)
    assert_speaks(*heard)


@pytest.fixture(scope="module")
def wide(pair_of: Callable[[str], Pair]) -> NemoBackend:
    path = pair_of.path_of("tdt")  # type: ignore[attr-defined]
    return load(str(path), device="cpu", n_slots=32, max_batch=32)


@pytest.mark.parametrize(
    ("chunk_frames", "batch"),
    [
        (frames, batch)
        if batch == 7 or frames == 7
        else pytest.param(frames, batch, marks=pytest.mark.long)
        for frames in (1, 2, 7, 14)
        for batch in (1, 2, 7, 32)
    ],
)
def test_batch_mates_joining_and_leaving_change_nothing(
    pair_of: Callable[[str], Pair], wide: NemoBackend, chunk_frames: int, batch: int
) -> None:
    nemo, lane = pair_of("tdt").nemo, Lane(chunk_frames, TDT)
    assert_mates_change_nothing(
        wide,
        lane,
        recordings("tdt", chunk_frames),
        lambda which: stepped_alone(nemo, "tdt", which, lane),
        batch=batch,
    )
