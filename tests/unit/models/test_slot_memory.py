"""Backends tell the engine when a slot finds no memory, so that it costs one session only."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind, ModelOptions
from siren_grpc.domain.ports import OutOfMemory
from siren_grpc.models.buffered_backend import BufferedBackend
from siren_grpc.models.nemo_backend import NemoBackend
from siren_grpc.models.voice import ListeningBackend
from tests.support.builders import make_info

NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
GONE = RuntimeError("CUDA error: unspecified launch failure")


def backend_of(kind: type, *, reset: Exception | None = None, choose: Exception | None = None):
    """A backend whose decoder raises when it is reset, or whose prompts do when one is chosen."""
    model = torch.nn.Module()
    model.encoder = torch.nn.Linear(1, 1)
    parts = MagicMock(model=model, info=make_info())
    parts.features.tail = parts.windows.wave = torch.zeros(2, 1)
    parts.decoders = {DecoderKind.RNNT: SimpleNamespace(reset=MagicMock(side_effect=reset))}
    parts.prompts.choose.side_effect = choose
    if kind is ListeningBackend:
        return ListeningBackend(NemoBackend(parts, n_slots=1, batch_sizes=(1,)), MagicMock())
    return kind(parts, n_slots=1, batch_sizes=(1,))


kinds = pytest.mark.parametrize("kind", [NemoBackend, BufferedBackend, ListeningBackend])


@kinds
def test_a_slot_without_memory_is_told_as_such(kind: type) -> None:
    with pytest.raises(OutOfMemory, match="Tried to allocate"):
        backend_of(kind, reset=NO_MEMORY).reset_slot(0)
    with pytest.raises(OutOfMemory, match="Tried to allocate"):
        backend_of(kind, reset=NO_MEMORY).open_slot(0, ModelOptions())
    with pytest.raises(OutOfMemory, match="Tried to allocate"):
        backend_of(kind, choose=NO_MEMORY).open_slot(0, ModelOptions())


@kinds
def test_other_failures_of_a_slot_stay_what_they_are(kind: type) -> None:
    with pytest.raises(RuntimeError, match="launch failure"):
        backend_of(kind, reset=GONE).reset_slot(0)
    refused = InvalidConfig.of_field("language_code", "use en")
    with pytest.raises(InvalidConfig, match="use en"):
        backend_of(kind, choose=refused).open_slot(0, ModelOptions())
