"""A token-and-duration transducer with a cache-aware encoder: durations reach over borders."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from siren_grpc.domain.model import DecoderKind, Lane
from tests.parity.conftest import Pair
from tests.parity.siren_path import assert_speaks, recognise
from tests.support import sounds

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("chunk_frames", [2, 7])
def test_tokens_and_frames_are_those_of_the_whole_recording(
    pair_of: Callable[[str], Pair], chunk_frames: int
) -> None:
    pair = pair_of("tdt")
    assert pair.siren.info.decoders == (DecoderKind.TDT,)
    heard = []
    for samples in (sounds.babble(80_000, seed=1), sounds.telephone(50_000, seed=2)):
        ours = recognise(pair.siren, samples, Lane(chunk_frames, DecoderKind.TDT))
        theirs = pair.nemo.decode_offline(samples, (70, chunk_frames - 1), "tdt")
        assert ours.tokens == theirs.tokens
        assert ours.frames == theirs.frames
        assert ours.text.strip() == theirs.text.strip()
        heard.append(ours)
    assert_speaks(*heard)
