"""From settings to a backend that is ready to serve."""

from __future__ import annotations

import logging
import os

import torch

from siren_grpc.domain.geometry import BufferedSeconds
from siren_grpc.domain.types import DecoderKind
from siren_grpc.models.buffered_loader import DEFAULT_CONTEXT
from siren_grpc.models.loader import LoadedBackend, load
from siren_grpc.models.warmup import warm_up

_log = logging.getLogger(__name__)


def start_backend(
    name: str,
    *,
    device: str,
    threads: int,
    n_slots: int,
    max_batch: int,
    chunk_frames: int | None,
    decoder: DecoderKind | None,
    buffered: BufferedSeconds = DEFAULT_CONTEXT,
) -> LoadedBackend:
    """Load a model and warm it up.

    device: a torch device, or "auto" for a GPU if there is one. threads: CPU threads of a step,
    0 for one per core. The rest as for `loader.load`, whose errors are raised.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads or os.cpu_count() or 1)
    backend = load(
        name,
        device=device,
        n_slots=n_slots,
        max_batch=max_batch,
        chunk_frames=chunk_frames,
        decoder=decoder,
        buffered=buffered,
    )
    _log.info("loaded %s on %s; warming up", backend.info.id, device)
    warm_up(backend)
    return backend
