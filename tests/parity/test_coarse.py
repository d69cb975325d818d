"""NeMo's own encoder with coarser linear layers hears nearly what it heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from siren_grpc.bench.engine_adapter import load_model
from siren_grpc.domain.model import DecoderKind, Lane, Precision
from siren_grpc.models.coarse import coarsen
from siren_grpc.models.linear import usual_precision
from siren_grpc.models.loader import EMBEDDED_MODEL, backend_of, load, restore
from tests.parity.siren_path import assert_speaks, recognise
from tests.support import checkpoints, sounds

pytestmark = pytest.mark.parity

RNNT = DecoderKind.RNNT
COARSE = pytest.mark.parametrize(
    ("precision", "off_by"),
    [(Precision.BF16, 0.02), (Precision.FP16, 0.002), (Precision.INT8, 0.1)],
)


@pytest.fixture(scope="module")
def offline(folder: Path) -> Path:
    return checkpoints.build_parakeet_hybrid(folder / "coarse.nemo")


def encoded(model: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, model.encoder._feat_in, 320, generator=generator)
    with torch.inference_mode():
        found, _ = model.encoder(audio_signal=features, length=torch.tensor([320, 200]))
    return found


def kinds_of(layers: nn.Module) -> set[type]:
    return {type(module) for module in layers.modules()}


@COARSE
def test_an_offline_encoder_hears_nearly_the_same(
    offline: Path, precision: Precision, off_by: float
) -> None:
    model: Any = restore(str(offline), device="cpu")
    exact = encoded(model)
    before = list(model.encoder.layers.parameters())
    coarsen(model.encoder, precision)
    coarse = encoded(model)
    error = float((coarse - exact).norm() / exact.norm())
    assert 0 < error < off_by
    assert coarse.dtype == exact.dtype, "what lies between linear layers is float32"
    assert nn.Linear not in kinds_of(model.encoder.layers)
    pointwise = [m for m in model.encoder.layers.modules() if getattr(m, "kernel_size", 0) == (1,)]
    assert not pointwise
    n_left = sum(p.numel() for p in model.encoder.layers.parameters())
    assert n_left < sum(p.numel() for p in before) / 10, "the exact weights are let go of"
    coarsen(model.encoder, precision)
    assert torch.equal(encoded(model), coarse), "once is enough"


def test_exact_ones_are_left_as_they_are(offline: Path) -> None:
    model: Any = restore(str(offline), device="cpu")
    before = dict(model.encoder.named_modules())
    coarsen(model.encoder, Precision.FP32)
    assert dict(model.encoder.named_modules()) == before


@COARSE
def test_an_offline_model_is_streamed_at_it(
    offline: Path, precision: Precision, off_by: float
) -> None:
    backend = load(str(offline), device="cpu", n_slots=2, max_batch=2, precision=precision)
    assert_speaks(recognise(backend, sounds.babble(16_000 * 6, seed=1), Lane(6, DecoderKind.TDT)))


def test_products_too_large_for_float16_stay_finite() -> None:
    """Infinity would become NaN a layer on, and that fails the step."""
    model: Any = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(2, 1, bias=False)])
    model.layers[0].weight.data.fill_(60_000.0)
    coarsen(model, Precision.FP16)
    most = torch.finfo(torch.float16).max
    found = model.layers[0](torch.tensor([[2.0, 2.0], [-2.0, -2.0], [0.5, 0.0]]))
    assert found.tolist() == [[most], [-most], [pytest.approx(30_000, rel=1e-3)]]
    assert found.dtype == torch.float32


def test_a_device_without_one_says_so_and_nothing_has_changed() -> None:
    model: Any = nn.Module()
    model.layers = nn.ModuleList([nn.Linear(2, 1, device="meta")])
    with pytest.raises(ValueError, match="int8 runs on a CPU only; use bf16 on a GPU"):
        coarsen(model, Precision.INT8)
    assert kinds_of(model.layers) == {nn.ModuleList, nn.Linear}


def test_who_a_benchmark_compares_with_keeps_its_own_products() -> None:
    loaded = load_model(EMBEDDED_MODEL, device="cpu", threads=1, precision=Precision.BF16)
    samples = sounds.shipped(1)[0][1]
    texts = {recognise(loaded.backend(n), samples, Lane(7, RNNT)).text for n in (1, 2)}
    assert len(texts) == 1
    assert {p.dtype for p in loaded.model.encoder.layers.parameters()} == {torch.float32}
    backend = backend_of(loaded.model, "exact", n_slots=1, max_batch=1)
    assert recognise(backend, samples, Lane(7, RNNT)).text


@pytest.mark.parametrize(
    ("device", "has_bf16", "usual"),
    [
        ("cpu", True, Precision.FP32),
        ("cuda", True, Precision.BF16),
        ("cuda:1", True, Precision.BF16),
        ("cuda", False, Precision.FP32),
    ],
)
def test_who_does_not_choose_has_what_the_device_is_made_for(
    monkeypatch: pytest.MonkeyPatch, device: str, has_bf16: bool, usual: Precision
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert usual_precision(torch.device(device)) is usual
