"""Layers whose steps are recorded give what they give without; and they can be recorded at all."""

from __future__ import annotations

import copy
import logging
from functools import partial
from typing import Any

import pytest
import torch

from siren_grpc.domain.model import DecoderKind, Lane, Precision
from siren_grpc.models.conformer import ConformerLayers
from siren_grpc.models.encoder import KeyValueEncoder
from siren_grpc.models.layer_graphs import GpuRecorder, GraphedStep
from siren_grpc.models.loader import EMBEDDED_MODEL, load, restore
from siren_grpc.models.nemo_backend import NemoBackend
from tests.parity.random_batches import assert_mates_change_nothing, recordings, stepped_alone
from tests.parity.siren_path import assert_speaks, recognise, started
from tests.support import sounds
from tests.support.nemo_reference import NemoReference
from tests.support.recorded_steps import CpuRecorder

pytestmark = pytest.mark.parity

MAKE = Any
"""The fixture `pair_of`, which also knows the checkpoints' paths."""


@pytest.mark.parametrize("name", ["nemotron", "hybrid"])
def test_recorded_layers_are_nemos_own_stepping(pair_of: MAKE, name: str) -> None:
    """Each batch size of its own; streams join and leave, and their last chunks are short."""
    path, lane = pair_of.path_of(name), Lane(7, DecoderKind.RNNT)
    backend = load(str(path), device="cpu", n_slots=6, max_batch=6)
    assert isinstance(backend, NemoBackend)
    encoder = backend._parts.encoder
    assert isinstance(encoder, KeyValueEncoder)
    record = CpuRecorder()
    encoder._step_layers = GraphedStep(encoder.layers.step, record)
    reference = partial(_alone, NemoReference(path), name, lane)
    assert_mates_change_nothing(backend, lane, recordings(name, 7), reference, batch=6)
    assert record.n_recorded == len(backend.batch_sizes)
    assert record.n_replayed > 3 * record.n_recorded


def _alone(nemo: NemoReference, name: str, lane: Lane, which: int) -> Any:
    return stepped_alone(nemo, name, which, lane)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16, Precision.FP16])
@pytest.mark.parametrize("name", ["nemotron", "hybrid"])
def test_a_step_reads_nothing_back_from_its_device(
    pair_of: MAKE, name: str, precision: Precision
) -> None:
    """A graph cannot wait for what the host is to know. Meta tensors have no values to tell."""
    model: Any = restore(str(pair_of.path_of(name)), device="cpu")
    with torch.inference_mode():
        encoder = copy.deepcopy(model.encoder).to("meta")
        layers = ConformerLayers(encoder, {7: (70, 6)}, n_slots=3, precision=precision)
        frames = torch.zeros(2, 7, encoder.d_model, device="meta")
        slots, lengths = torch.tensor([[2, 0], [7, 3]], device="meta")
        encoded = layers.step(slots, frames, lengths)
    assert encoded.device.type == "meta"
    assert encoded.shape == frames.shape


def test_where_there_is_no_gpu_the_setting_does_nothing_and_says_so(
    pair_of: MAKE, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "siren_grpc.models.start"):
        backend = started(str(pair_of.path_of("ctc")), cuda_graphs=True)
    assert "cuda_graphs has no effect on a cpu" in caplog.text
    assert_speaks(recognise(backend, sounds.babble(16_000 * 3, seed=1), Lane(7, DecoderKind.CTC)))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_graphs_of_a_gpu_change_no_token(
    precision: Precision, caplog: pytest.LogCaptureFixture
) -> None:
    samples = [audio for _, audio in sounds.shipped(6)]
    heard = []
    for cuda_graphs in (False, True):
        with caplog.at_level(logging.WARNING, "siren_grpc.models.layer_graphs"):
            backend = load(
                EMBEDDED_MODEL,
                device="cuda",
                n_slots=4,
                max_batch=4,
                precision=precision,
                cuda_graphs=cuda_graphs,
            )
            lanes = [Lane(frames, DecoderKind.RNNT) for frames in backend.info.look_aheads]
            heard.append([recognise(backend, audio, lane) for lane in lanes for audio in samples])
    assert isinstance(backend, NemoBackend)
    step = backend._parts.encoder._step_layers  # type: ignore[attr-defined]
    assert isinstance(step, GraphedStep)
    assert isinstance(step._record, GpuRecorder), caplog.text
    assert step._recorded
    assert_speaks(*heard[0])
    assert [t.tokens for t in heard[0]] == [t.tokens for t in heard[1]]
