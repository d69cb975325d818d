"""This server's engine as contestants: in the caller's thread, and in the stepper's."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from time import monotonic

from siren_grpc.bench.audio import to_pcm
from siren_grpc.bench.contestant import Streams
from siren_grpc.bench.engine_adapter import LoadedModel, SyncEngine, new_ingress, slot_bytes
from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.results import Final, Result
from siren_grpc.domain.work import Chunk, EndUtterance, Work
from siren_grpc.engine.messages import Delivery, Open, Push, Recognised
from siren_grpc.engine.stepper import Stepper
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer


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


_MAX_DELAY_S = 0.02  # the server's default


class SirenEngine:
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


class SirenAsServed:
    """The same as the server runs it: the stepper's threads, its inbox, its deliveries.

    The cores of one contestant are here as many steps at once, each on one thread.
    """

    name = "siren as served"

    def __init__(self, loaded: LoadedModel, lane: Lane, n_streams: int) -> None:
        """Step up to n_streams in one batch."""
        self._lane = lane
        self._backend = loaded.backend(n_streams)
        self._backend.threads = 1
        self._backend.n_parallel = loaded.threads
        self._is_done = threading.Condition()

    def open(self, streams: Streams) -> None:
        """See `Contestant`."""
        info = self._backend.info
        self._stepper = Stepper(deliver=self._note, on_death=self._die, max_delay_s=_MAX_DELAY_S)
        self._stepper.start()
        self._stepper.add_model("", self._backend)
        detokenizer = Detokenizer(info.token_texts, info.punctuation)
        geometry = info.geometry(self._lane.chunk_frames)
        self._utterances = [Utterance(detokenizer, geometry) for _ in streams.samples]
        self._due_samples = 0
        self._due_finals = 0
        self._is_dead = False
        self._texts = ["" for _ in streams.samples]
        self._ingresses = []
        for stream in range(len(streams.samples)):
            self._stepper.post([Open(stream, self._lane)])
            self._ingresses.append(new_ingress(self._backend.info, self._lane))
        steps, self._rest = cut_pcm(streams, self._backend.info, self._lane)
        self._steps = iter(steps)

    def step(self) -> None:
        """See `Contestant`."""
        self._push(
            (stream, self._ingresses[stream].receive_audio(pcm, 0))
            for stream, pcm in enumerate(next(self._steps))
        )
        self._wait()

    def finish(self) -> list[str]:
        """See `Contestant`."""
        self._push(
            (stream, [*ingress.receive_audio(pcm, 0), *ingress.finalize()])
            for stream, (pcm, ingress) in enumerate(zip(self._rest, self._ingresses, strict=True))
        )
        self._wait()
        self._stepper.stop(timeout_s=60)
        return self._texts

    def _push(self, works: Iterable[tuple[int, Sequence[Work]]]) -> None:
        listed = list(works)
        with self._is_done:
            for item in (item for _, work in listed for item in work):
                self._due_samples += len(item.samples) if isinstance(item, Chunk) else 0
                self._due_finals += isinstance(item, EndUtterance)
        now = monotonic()
        self._stepper.post([Push(stream, item, now) for stream, work in listed for item in work])

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
                outcome, stream = delivery.outcome, delivery.session_id
                if isinstance(outcome, Recognised):
                    self._utterances[stream].advance(outcome.work, outcome.result)
                    self._due_samples -= len(outcome.work.samples)
                elif isinstance(outcome, EndUtterance):
                    for result in self._utterances[stream].finish(outcome):
                        if isinstance(result, Final):
                            self._texts[stream] = result.text
                            self._due_finals -= 1
            self._is_done.notify_all()

    def _die(self) -> None:
        with self._is_done:
            self._is_dead = True
            self._is_done.notify_all()

    def session_bytes(self) -> int | None:
        """See `Contestant`: as for the engine without a thread."""
        return None
