"""The models of a device, for any number of front ends in this process and others."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Sequence

from siren_grpc.domain.ports import ModelBackend
from siren_grpc.domain.types import ModelInfo
from siren_grpc.engine.messages import Delivery, Message, front_end_of
from siren_grpc.engine.stepper import Stepper

Deliver = Callable[[Sequence[Delivery]], None]


class EngineHost:
    """Owns the stepper. Belongs to the event loop that made it."""

    def __init__(self, *, max_delay_s: float = 0.0) -> None:
        """Prepare; `start` starts the stepper. max_delay_s: as for `Scheduler`."""
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
        )

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models in service, in the order in which they came."""
        return tuple(self._models.values())

    @property
    def is_stepping(self) -> bool:
        """Whether the stepper's thread runs."""
        return self._stepper.is_alive

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

    def post(self, messages: Iterable[Message]) -> None:
        """Take a front end's messages, in order; from any thread."""
        self._stepper.post(messages)

    def add_model(self, backend: ModelBackend) -> None:
        """Take a model that is warmed up into service.

        Raises ValueError when one of its id is in service already, or going.
        """
        info = backend.info
        if info.id in self._models or info.id in self._retiring:
            raise ValueError(f"model {info.id} is in service already")
        self._models[info.id] = info
        self._stepper.add_model(info.id, backend)

    async def retire_model(self, model_id: str) -> None:
        """Take a model out of service, and free it when the last of its sessions has ended.

        Raises KeyError for a model that is not in service.
        """
        del self._models[model_id]
        self._retiring.add(model_id)
        is_freed = asyncio.Event()
        self._stepper.retire_model(model_id, lambda: self._call_soon(is_freed.set))
        await is_freed.wait()
        self._retiring.remove(model_id)

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
