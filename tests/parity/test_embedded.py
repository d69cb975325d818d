"""The embedded model on the shipped recordings: a trained model, real voices, NeMo's own answer."""

from __future__ import annotations

import pytest

from siren_grpc.domain.model import DecoderKind, EncoderCache, Lane, Precision
from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path, load
from tests.parity.conftest import Pair
from tests.parity.siren_path import assert_speaks, recognise
from tests.support import sounds
from tests.support.nemo_reference import NemoReference, steps_lose_the_tail

pytestmark = pytest.mark.parity

RECORDINGS = dict(sounds.shipped(4))


@pytest.fixture(scope="module")
def embedded() -> Pair:
    path = checkpoint_path(EMBEDDED_MODEL)
    assert path is not None
    return Pair(NemoReference(path), load(EMBEDDED_MODEL, device="cpu", n_slots=2, max_batch=2))


@pytest.mark.parametrize("kind", [DecoderKind.RNNT, DecoderKind.CTC])
@pytest.mark.parametrize("chunk_frames", [2, 7, 14])
def test_every_look_ahead_and_decoder(embedded: Pair, kind: DecoderKind, chunk_frames: int) -> None:
    assert chunk_frames in embedded.siren.info.look_aheads
    look_ahead = (70, chunk_frames - 1)
    heard = []
    for name, samples in RECORDINGS.items():
        ours = recognise(embedded.siren, samples, Lane(chunk_frames, kind))
        offline = embedded.nemo.decode_offline(samples, look_ahead, kind.value)
        assert (ours.tokens, ours.frames) == (offline.tokens, offline.frames), name
        assert ours.text == offline.text.strip(), name
        while steps_lose_the_tail(len(samples) // 160, chunk_frames):
            samples = samples[:-160]  # NeMo's buffer would drop the end of this length
        ours = recognise(embedded.siren, samples, Lane(chunk_frames, kind))
        stepwise = embedded.nemo.decode_stepwise(samples, look_ahead, kind.value)
        assert (ours.tokens, ours.frames) == (stepwise.tokens, stepwise.frames), name
        heard.append(ours)
    assert_speaks(*heard)
    assert len(heard) == 4


@pytest.mark.parametrize("cache", EncoderCache)
@pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16, Precision.INT8])
def test_coarser_products_hear_the_same_words(
    embedded: Pair, precision: Precision, cache: EncoderCache
) -> None:
    """They change every activation a little, and hardly any of the digits it was made for."""
    coarse = load(
        EMBEDDED_MODEL,
        device="cpu",
        n_slots=1,
        max_batch=1,
        precision=precision,
        encoder_cache=cache,
    )
    words = errors = 0
    digits = [samples for name, samples in sounds.shipped(20) if name.startswith("digits")]
    for samples in digits:
        exact, rough = (
            recognise(backend, samples, Lane(7, DecoderKind.CTC)).text.split()
            for backend in (embedded.siren, coarse)
        )
        words += len(exact)
        errors += sum(a != b for a, b in zip(exact, rough, strict=False))
        errors += abs(len(exact) - len(rough))
    assert words > 20
    assert errors <= words / 20
