"""Small checkpoints of the published architectures, built once a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from siren_grpc.domain.model import EncoderCache
from siren_grpc.models.loader import load
from siren_grpc.models.nemo_backend import NemoBackend
from tests.support import checkpoints
from tests.support.nemo_reference import NemoReference


@dataclass(frozen=True)
class Pair:
    """The same checkpoint as NeMo runs it and as Siren does."""

    nemo: NemoReference
    siren: NemoBackend


@pytest.fixture(scope="session", autouse=True)
def single_thread() -> None:
    """Models this small only lose time, ten times over, when several threads share their work."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def pair_of(folder: Path) -> object:
    """Return pairs by the name of their builder (nemotron, hybrid, ctc) and the encoder's cache."""

    @cache
    def reference(name: str) -> tuple[Path, NemoReference]:
        path = getattr(checkpoints, f"build_{name}")(folder / f"{name}.nemo")
        return path, NemoReference(path)

    @cache
    def make(name: str, cache: EncoderCache = EncoderCache.KEYS_VALUES) -> Pair:
        path, nemo = reference(name)
        backend = load(str(path), device="cpu", n_slots=6, max_batch=5, encoder_cache=cache)
        return Pair(nemo, backend)

    make.path_of = lambda name: reference(name)[0]  # type: ignore[attr-defined]
    return make
