"""The models of a device, for any number of front ends in this process and others."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace as replaced

from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.engine.messages import Delivery, Message, Open, Refused, front_end_of
from siren_grpc.engine.step_tally import EngineLoad, StepTally
from siren_grpc.engine.stepper import Stepper
from siren_grpc.observe.tracing import Tracing

Deliver = Callable[[Sequence[Delivery]], None]


class EngineHost:
    """Owns the stepper. Belongs to the event loop that made it."""

    def __init__(
        self, *, max_delay_s: float = 0.0, max_load: float = 0.0, tracing: Tracing | None = None
    ) -> None:
        """Prepare; `start` starts the stepper.

        max_delay_s, tracing: as for `Stepper`. max_load: as for `Load`.
        """
        self._loop = asyncio.get_running_loop()
        self._models: dict[str, ModelInfo] = {}
        self._retiring: set[str] = set()
        self._numbers = itertools.count(1)
        self._delivers: dict[int, Deliver] = {}
        self._is_dead = asyncio.Event()
        self._stepper = Stepper(
            deliver=self._deliver_from_thread,
            on_death=lambda: self._call_soon(self._is_dead.set),
            max_delay_s=max_delay_s,
            max_load=max_load,
            tracing=tracing,
        )

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models in service, in the order in which they came."""
        return tuple(self._models.values())

    @property
    def tally(self) -> StepTally:
        """What the stepper has counted."""
        return self._stepper.tally

    @property
    def load(self) -> EngineLoad:
        """Sessions and work as they are now."""
        return self._stepper.load

    @property
    def is_stepping(self) -> bool:
        """Whether the stepper's thread runs."""
        return self._stepper.is_alive

    def busy_since(self) -> tuple[float, ...]:
        """Return when each busy thread of the stepper began what it does: see `Heartbeat`."""
        return self._stepper.heartbeat.busy_since()

    @property
    def counts(self) -> dict[str, int]:
        """Sessions and slots taken; zero when nobody is there."""
        return self._stepper.counts

    async def wait_dead(self) -> None:
        """Return when the stepper has died of itself: the process should be replaced."""
        await self._is_dead.wait()

    def start(self) -> None:
        """Start the stepper."""
        self._stepper.start()

    def stop(self, *, timeout_s: float) -> None:
        """Stop the stepper after the step under way."""
        self._stepper.stop(timeout_s=timeout_s)

    def connect(self, deliver: Deliver) -> int:
        """Return the number of a new front end, which its session ids carry.

        deliver: called in the event loop with what became of its sessions, once a step.
        """
        number = next(self._numbers)
        self._delivers[number] = deliver
        return number

    def disconnect(self, front_end: int) -> None:
        """Close the sessions of a front end that is gone."""
        if self._delivers.pop(front_end, None) is not None:
            self._stepper.close_all(front_end)

    def post(self, messages: Sequence[Message]) -> None:
        """Take a front end's messages, in order; from any thread."""
        refused = []
        for message in messages:
            if isinstance(message, Open):
                error = self._stepper.quick_refusal(message)
                if error is not None:
                    refused.append(Delivery(message.session_id, Refused(error)))
        if refused:
            # Not behind the step under way: who is refused should know at once, to go elsewhere.
            self._deliver_from_thread(refused)
            ids = {delivery.session_id for delivery in refused}
            messages = [m for m in messages if not (isinstance(m, Open) and m.session_id in ids)]
        self._stepper.post(messages)

    def add_model(
        self, backend: ModelBackend, *, generation: int = 0, leaving: Collection[str] = ()
    ) -> ModelInfo:
        """Take a model that is warmed up into service, and return it as it is known here.

        generation: as in `ModelInfo`. leaving: keys of models in service that are to be retired;
        one of them may be of its id. Raises ValueError when another of its id is in service, or one
        of its generation is going.
        """
        info = replaced(backend.info, generation=generation)
        in_service = {model.id for key, model in self._models.items() if key not in leaving}
        if info.id in in_service or info.key in self._retiring:
            raise ValueError(f"model {info.id} is in service already")
        self._models[info.key] = info
        self._stepper.add_model(info.key, backend)
        return info

    async def retire_model(self, key: str) -> None:
        """Take a model out of service, and free it when the last of its sessions has ended.

        Raises KeyError for a model that is not in service.
        """
        del self._models[key]
        self._retiring.add(key)
        is_freed = asyncio.Event()
        self._stepper.retire_model(key, lambda: self._call_soon(is_freed.set))
        await is_freed.wait()
        self._retiring.remove(key)

    def _deliver_from_thread(self, deliveries: Sequence[Delivery]) -> None:
        self._call_soon(self._deliver, deliveries)

    def _call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *arguments)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        if len(self._delivers) == 1:
            (deliver,) = self._delivers.values()
            deliver(deliveries)
            return
        by_front_end: dict[int, list[Delivery]] = {}
        for delivery in deliveries:
            by_front_end.setdefault(front_end_of(delivery.session_id), []).append(delivery)
        for number, part in by_front_end.items():
            if number in self._delivers:
                self._delivers[number](part)
