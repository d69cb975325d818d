"""The engine as the benchmarks drive it. The one file that knows the engine's inside."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from nemo.utils import logging

from siren_grpc.audio.decode import Encoding
from siren_grpc.bench.audio import to_pcm
from siren_grpc.bench.contestant import Streams
from siren_grpc.bench.sizes import object_bytes, tensor_bytes
from siren_grpc.domain.types import (
    AudioWork,
    Chunk,
    DecoderKind,
    EndUtterance,
    Final,
    Lane,
    ModelInfo,
    Result,
    StepRow,
    Work,
)
from siren_grpc.engine.stepper import Delivery, Stepper
from siren_grpc.models.loader import backend_of, model_id, restore
from siren_grpc.models.nemo_backend import NemoBackend
from siren_grpc.scheduling.scheduler import Scheduler
from siren_grpc.session.ingress import Ingress, IngressConfig
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer

_TAIL_PADDING_MS = 480  # the server's default


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A checkpoint in memory, the device it is on, and the CPU threads of a step."""

    name: str
    model: Any
    device: str
    threads: int

    def backend(self, n_streams: int) -> NemoBackend:
        """Make a backend that steps n_streams in one batch."""
        return backend_of(
            self.model, model_id(self.name), n_slots=n_streams, max_batch=n_streams
        )


def load_model(name: str, *, device: str, threads: int) -> LoadedModel:
    """Load a checkpoint as the server does.

    device: a torch device or "auto". threads: CPU threads of a step, 0 for one per core.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads or os.cpu_count() or 1)
    return LoadedModel(name, restore(name, device=device), device, torch.get_num_threads())


def quiet_nemo() -> None:
    """Let NeMo report errors only: it says on loading what every checkpoint lacks on a CPU."""
    logging.setLevel(logging.ERROR)


def new_ingress(info: ModelInfo, lane: Lane) -> Ingress:
    """Return the ingress of a stream of 16-bit PCM at the model's rate, without previews."""
    features = info.features
    return Ingress(
        IngressConfig(
            encoding=Encoding.LINEAR16,
            sample_rate_hertz=features.sample_rate_hertz,
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

    def __init__(self, backend: NemoBackend, lane: Lane) -> None:
        """Start without streams."""
        self._backend = backend
        self._lane = lane
        self._detokenizer = Detokenizer(backend.info.token_texts, backend.info.punctuation)
        self._scheduler = Scheduler(max_batch=backend.max_batch)
        self._ingresses: list[Ingress] = []
        self._utterances: list[Utterance] = []
        self._n_pushed = 0

    def open(self) -> int:
        """Open a stream in the next slot and return its number, which is its slot, too."""
        stream = len(self._utterances)
        self._backend.reset_slot(stream)
        self._ingresses.append(new_ingress(self._backend.info, self._lane))
        self._utterances.append(Utterance(self._detokenizer, self._backend.info.features))
        self._scheduler.add(stream, self._lane)
        return stream

    def receive(self, stream: int, pcm: bytes) -> None:
        """Take a message of audio."""
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
        while not (plan := self._scheduler.plan()).is_empty:
            for stream, marker in plan.markers:
                if isinstance(marker, EndUtterance):
                    found = self._utterances[stream].finish(marker)
                    results.extend((stream, result) for result in found)
                    self._backend.reset_slot(stream)
            if plan.lane is not None:
                results.extend(self._step(plan.lane, plan.rows))
            self._scheduler.complete(plan)
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


def cut_pcm(streams: Streams, info: ModelInfo, lane: Lane) -> tuple[list[list[bytes]], list[bytes]]:
    """Return per step the PCM of one chunk of every stream, and the rest of every stream."""
    geometry = info.geometry(lane.chunk_frames)
    pcm = [to_pcm(samples) for samples in streams.samples]
    steps = []
    at = 0
    for number in range(streams.n_steps):
        end = at + 2 * geometry.chunk_samples(is_first=number == 0)
        steps.append([data[at:end] for data in pcm])
        at = end
    return steps, [data[at:] for data in pcm]


class Ours:
    """This server's engine: ingress, scheduler, model step, text; no gRPC, no thread."""

    name = "siren"

    def __init__(self, loaded: LoadedModel, lane: Lane, n_streams: int) -> None:
        """Step n_streams in one batch."""
        # Before the backend: backends share the model, and making one sets its look-ahead.
        self._session_bytes = slot_bytes(loaded)
        self._lane = lane
        self._backend = loaded.backend(n_streams)
        self._texts: list[str] = []

    def open(self, streams: Streams) -> None:
        """See `Contestant`."""
        self._engine = SyncEngine(self._backend, self._lane)
        self._texts = ["" for _ in streams.samples]
        for _ in streams.samples:
            self._engine.open()
        steps, self._rest = cut_pcm(streams, self._backend.info, self._lane)
        self._steps = iter(steps)

    def step(self) -> None:
        """See `Contestant`."""
        for stream, pcm in enumerate(next(self._steps)):
            self._engine.receive(stream, pcm)
        self._collect(self._engine.run())

    def finish(self) -> list[str]:
        """See `Contestant`."""
        for stream, pcm in enumerate(self._rest):
            self._engine.receive(stream, pcm)
            self._engine.finalize(stream)
        self._collect(self._engine.run())
        return self._texts

    def _collect(self, results: Sequence[tuple[int, Result]]) -> None:
        for stream, result in results:
            if isinstance(result, Final):
                self._texts[stream] = result.text

    def session_bytes(self) -> int | None:
        """See `Contestant`."""
        return self._session_bytes


class OursInThread:
    """The same through the real stepper: its thread, its inbox, its deliveries."""

    name = "siren-stepper"

    def __init__(self, loaded: LoadedModel, lane: Lane, n_streams: int) -> None:
        """Step up to n_streams in one batch."""
        self._lane = lane
        self._backend = loaded.backend(n_streams)
        self._is_done = threading.Condition()

    def open(self, streams: Streams) -> None:
        """See `Contestant`."""
        self._stepper = Stepper(self._backend, deliver=self._note, on_death=self._die)
        self._stepper.start()
        self._due_samples = 0
        self._due_finals = 0
        self._is_dead = False
        self._texts = ["" for _ in streams.samples]
        self._ingresses = []
        for stream in range(len(streams.samples)):
            self._stepper.open(stream, self._lane)
            self._ingresses.append(new_ingress(self._backend.info, self._lane))
        steps, self._rest = cut_pcm(streams, self._backend.info, self._lane)
        self._steps = iter(steps)

    def step(self) -> None:
        """See `Contestant`."""
        for stream, pcm in enumerate(next(self._steps)):
            self._push(stream, self._ingresses[stream].receive_audio(pcm, 0))
        self._wait()

    def finish(self) -> list[str]:
        """See `Contestant`."""
        for stream, pcm in enumerate(self._rest):
            ingress = self._ingresses[stream]
            self._push(stream, [*ingress.receive_audio(pcm, 0), *ingress.finalize()])
        self._wait()
        self._stepper.stop(timeout_s=60)
        return self._texts

    def _push(self, stream: int, work: Sequence[Work]) -> None:
        with self._is_done:
            for item in work:
                self._due_samples += len(item.samples) if isinstance(item, Chunk) else 0
                self._due_finals += isinstance(item, EndUtterance)
        self._stepper.push(stream, work)

    def _wait(self) -> None:
        with self._is_done:
            self._is_done.wait_for(
                lambda: self._is_dead or (self._due_samples <= 0 and self._due_finals <= 0)
            )
            if self._is_dead:
                raise RuntimeError("the stepper died; see the log")

    def _note(self, deliveries: Sequence[Delivery]) -> None:
        with self._is_done:
            for delivery in deliveries:
                self._due_samples -= delivery.done_samples
                for result in delivery.results:
                    if isinstance(result, Final):
                        self._texts[delivery.session_id] = result.text
                        self._due_finals -= 1
            self._is_done.notify_all()

    def _die(self) -> None:
        with self._is_done:
            self._is_dead = True
            self._is_done.notify_all()

    def session_bytes(self) -> int | None:
        """See `Contestant`: as for the engine without a thread."""
        return None


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
