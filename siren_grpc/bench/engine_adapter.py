"""The engine as the benchmarks drive it: this and `siren_contestants` alone know its inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nemo.utils import logging

from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import AudioSpec
from siren_grpc.bench.sizes import object_bytes, tensor_bytes
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo, Precision
from siren_grpc.domain.results import Result
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import AudioWork, EndUtterance, Work
from siren_grpc.models.allocator import keep_freed_memory
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.loader import backend_of, model_id, restore
from siren_grpc.runtime import cores
from siren_grpc.scheduling.plan import LaneLimits
from siren_grpc.scheduling.scheduler import Scheduler
from siren_grpc.session.ingress import Ingress, IngressConfig
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer

_TAIL_PADDING_MS = 480  # the server's default


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint in memory, the device it is on, and the CPU threads of a step.

    model: at fp32, for whoever is compared. own: what backends are made of, at the precision; the
    same where that is fp32, too. cuda_graphs: of those backends' layers, where they have them.
    """

    name: str
    model: Any
    own: Any
    device: str
    threads: int
    precision: Precision
    cuda_graphs: bool

    def backend(self, n_streams: int) -> LoadedBackend:
        """Make a backend that steps n_streams in one batch."""
        return backend_of(
            self.own,
            model_id(self.name),
            n_slots=n_streams,
            max_batch=n_streams,
            precision=self.precision,
            cuda_graphs=self.cuda_graphs,
        )


def load_model(
    name: str,
    *,
    device: str,
    threads: int,
    precision: Precision = Precision.FP32,
    cuda_graphs: bool = False,
) -> LoadedModel:
    """Load a checkpoint as the server does.

    device: a torch device or "auto". threads: CPU threads of a step, 0 for one per core. Raises
    ValueError or OSError, for the operator.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    keep_freed_memory()  # all contestants of a process gain by it
    torch.set_num_threads(threads or cores())
    model = restore(name, device=device)
    # Coarser products leave a model no weights but their own.
    own = model if precision is Precision.FP32 else restore(name, device=device)
    return LoadedModel(name, model, own, device, torch.get_num_threads(), precision, cuda_graphs)


def quiet_nemo() -> None:
    """Let NeMo report errors only: it says on loading what every checkpoint lacks on a CPU."""
    logging.setLevel(logging.ERROR)


def new_ingress(info: ModelInfo, lane: Lane) -> Ingress:
    """Return the ingress of a stream of 16-bit PCM at the model's rate, without previews."""
    features = info.features
    return Ingress(
        IngressConfig(
            audio=AudioSpec(Encoding.LINEAR16, features.sample_rate_hertz),
            geometry=info.geometry(lane.chunk_frames),
            preview_samples=0,
            padding_samples=features.samples_of_ms(_TAIL_PADDING_MS),
            max_samples=None,
        )
    )


def slot_bytes(loaded: LoadedModel) -> int:
    """Return the bytes of tensors a backend keeps for one more session."""
    few, many = (tensor_bytes(loaded.backend(n)) for n in (2, 6))
    return (many - few) // 4


class SyncEngine:
    """All the server does for its streams but gRPC and threads, in the caller's thread.

    The same ingress, scheduler, backend and utterances, called in the stepper's order.
    """

    def __init__(self, backend: LoadedBackend, lane: Lane) -> None:
        """Start without streams."""
        self._backend = backend
        self._lane = lane
        self._detokenizer = Detokenizer(backend.info.token_texts, backend.info.punctuation)
        self._geometry = backend.info.geometry(lane.chunk_frames)
        self._scheduler = Scheduler()
        self._limits = LaneLimits(backend.info.features.sample_rate_hertz, backend.batch_sizes)
        self._ingresses: list[Ingress] = []
        self._utterances: list[Utterance] = []
        self._n_pushed = 0

    def open(self) -> int:
        """Open a stream in the next slot and return its number, which is its slot, too."""
        stream = len(self._utterances)
        self._backend.reset_slot(stream)
        self._ingresses.append(new_ingress(self._backend.info, self._lane))
        self._utterances.append(Utterance(self._detokenizer, self._geometry))
        self._scheduler.add(stream, self._lane, self._limits)
        return stream

    def receive(self, stream: int, pcm: bytes) -> None:
        """Take a message of 16-bit PCM at the model's rate; any length."""
        self._push(stream, self._ingresses[stream].receive_audio(pcm, 0))

    def finalize(self, stream: int) -> None:
        """End the stream's utterance."""
        self._push(stream, self._ingresses[stream].finalize())

    def _push(self, stream: int, work: Sequence[Work]) -> None:
        for item in work:
            self._scheduler.push(stream, item, 0.0)
            self._n_pushed += 1

    @property
    def has_work(self) -> bool:
        """Whether `run` has something to do."""
        return self._n_pushed > 0

    def run(self) -> list[tuple[int, Result]]:
        """Step until nothing is left to do; return what each stream's client would be sent."""
        results: list[tuple[int, Result]] = []
        self._n_pushed = 0
        while not (plan := self._scheduler.plan(0.0)).is_empty:
            for stream, marker in plan.markers:
                if isinstance(marker, EndUtterance):
                    found = self._utterances[stream].finish(marker)
                    results.extend((stream, result) for result in found)
                    self._backend.reset_slot(stream)
            if plan.lane is not None:
                results.extend(self._step(plan.lane, plan.rows))
            self._scheduler.complete(plan, plan.began_at)
        return results

    def _step(self, lane: Lane, works: Sequence[tuple[int, AudioWork]]) -> list[tuple[int, Result]]:
        rows = [StepRow(stream, work) for stream, work in works]
        outcomes = self._backend.step(lane, rows)
        return [
            (stream, result)
            for (stream, work), outcome in zip(works, outcomes, strict=True)
            for result in self._utterances[stream].advance(work, outcome)
        ]

    def python_bytes(self, stream: int) -> int:
        """Return the bytes of Python objects kept for a stream."""
        shared = (self._detokenizer, self._backend.info, self._backend.info.features)
        return sum(
            object_bytes(part, shared)
            for part in (self._ingresses[stream], self._utterances[stream])
        )


def lane_of(info: ModelInfo, chunk_frames: int | None, decoder: str | None) -> Lane:
    """Return the lane asked for, the model's defaults where nothing is. Raises ValueError."""
    frames = chunk_frames or info.default_chunk_frames
    if frames not in info.look_aheads:
        offered = ", ".join(str(offer) for offer in info.look_aheads)
        raise ValueError(f"{info.id} offers chunk_frames {offered}, not {frames}")
    kind = DecoderKind(decoder) if decoder else info.decoders[0]
    if kind not in info.decoders:
        raise ValueError(f"{info.id} has no {kind.value} decoder")
    return Lane(frames, kind)
