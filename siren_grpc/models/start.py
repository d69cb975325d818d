"""From settings to a backend that is ready to serve."""

from __future__ import annotations

import gc
import logging

import torch

from siren_grpc.domain.geometry import BufferedSeconds
from siren_grpc.domain.model import DecoderKind, EncoderCache, Precision
from siren_grpc.models.allocator import keep_freed_memory
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.buffered_loader import DEFAULT_CONTEXT
from siren_grpc.models.calibrate import calibrate
from siren_grpc.models.linear import usual_precision
from siren_grpc.models.loader import backend_of, model_id, refuse, restore
from siren_grpc.models.shared_settings import OnUnmet, Unmet
from siren_grpc.models.threads import use_device
from siren_grpc.models.voice import VOICE_HERTZ, ListeningBackend, VoiceDetector
from siren_grpc.models.warmup import warm_up

_log = logging.getLogger(__name__)
_LARGEST_CPU_BATCH = 64
_LARGEST_GPU_BATCH = 256


class NoMemoryForSessions(Exception):
    """The memory set aside for sessions holds not even one; the message says what one takes."""


def start_backend(
    name: str,
    *,
    device: str,
    threads: int,
    n_slots: int,
    max_batch: int | None,
    chunk_frames: int | None,
    decoder: DecoderKind | None,
    encoder_cache: EncoderCache = EncoderCache.KEYS_VALUES,
    precision: Precision | None = None,
    cuda_graphs: bool = False,
    session_memory_mb: int | None = None,
    parallel_steps: int = 0,
    n_front_ends: int = 1,
    buffered: BufferedSeconds = DEFAULT_CONTEXT,
    on_unmet: OnUnmet = refuse,
) -> LoadedBackend:
    """Load a model and warm it up.

    device: a torch device, or "auto" for a GPU if there is one. threads: CPU threads of a step,
    0 for the quickest number. n_slots: sessions at once, fewer if session_memory_mb (MiB) holds
    no more. max_batch: most rows of a step, None to choose. precision: None for the device's
    usual. parallel_steps: steps at once on a CPU, 0 for as many as the cores beside those of
    n_front_ends processes are good for. on_unmet: asked once about each of chunk_frames and decoder
    that the model cannot follow. The rest as for `loader.load`, whose errors are raised, what
    on_unmet raises, and NoMemoryForSessions.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    keep_freed_memory()
    if torch.device(device).type == "cuda":
        use_device(torch.device(device))
        # A model that was let go of is a ring of references, and nothing else makes room for this.
        gc.collect()
        torch.cuda.empty_cache()
    elif cuda_graphs:
        _log.warning("cuda_graphs has no effect on a %s", device)
    chosen = precision or usual_precision(torch.device(device))
    model = restore(name, device=device)
    largest = max_batch or (_LARGEST_CPU_BATCH if device == "cpu" else _LARGEST_GPU_BATCH)

    asked: list[Unmet] = []

    def ask_once(unmet: Unmet) -> None:
        if unmet not in asked:  # a backend of one slot may come first, only to be measured
            asked.append(unmet)
            on_unmet(unmet)

    def backend_with(slots: int) -> LoadedBackend:
        return backend_of(
            model,
            model_id(name),
            n_slots=slots,
            max_batch=min(largest, slots),
            chunk_frames=chunk_frames,
            decoder=decoder,
            encoder_cache=encoder_cache,
            precision=chosen,
            cuda_graphs=cuda_graphs,
            buffered=buffered,
            on_unmet=ask_once,
        )

    if session_memory_mb is not None:
        per_session = backend_with(1).bytes_per_slot
        fitting = (session_memory_mb << 20) // per_session - 1  # one slot is for padding rows
        if fitting < 1:
            raise NoMemoryForSessions(
                f"session_memory_mb {session_memory_mb} holds no session of {name}: one takes "
                f"{per_session / 2**20:.2f} MiB, and one more of the same size is needed"
            )
        n_slots = min(n_slots, fitting)
    backend = backend_with(n_slots)
    _log.info(
        "loaded %s on %s at %s: %d sessions of %.2f MiB each; warming up",
        backend.info.id,
        device,
        chosen.value,
        n_slots,
        backend.bytes_per_slot / 2**20,
    )
    if not backend.is_on_gpu:
        calibrate(
            backend,
            threads=threads,
            parallel_steps=parallel_steps,
            max_batch=max_batch,
            n_front_ends=n_front_ends,
        )
    warm_up(backend)
    hertz = backend.info.features.sample_rate_hertz
    if hertz != VOICE_HERTZ:
        _log.warning("no voice detector for %s: it hears %d Hz", backend.info.id, hertz)
        return backend
    return ListeningBackend(backend, VoiceDetector(n_slots=n_slots, device=torch.device(device)))
