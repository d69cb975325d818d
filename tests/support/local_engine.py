"""Host and engine in one event loop: what tests of the engine drive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from siren_grpc.domain.model import Lane, ModelInfo
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.messages import Delivery, Message
from siren_grpc.engine.presentation import Normaliser
from siren_grpc.engine.session import EngineLimits, EngineSession
from siren_grpc.text.options import TextOptions


class LocalEngine:
    """An `EngineHost` with one front end, connected by calls instead of a link."""

    def __init__(self, limits: EngineLimits, normaliser: Normaliser | None = None) -> None:
        self.host = EngineHost()
        number = self.host.connect(self._deliver)
        self._engine = Engine(limits, self._send, front_end=number, normaliser=normaliser)

    def _send(self, messages: Sequence[Message]) -> None:
        self.host.post(messages)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        self._engine.deliver(deliveries)

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        return self._engine.models

    @property
    def n_sessions(self) -> int:
        return self._engine.n_sessions

    def start(self) -> None:
        self.host.start()
        self._dying = asyncio.create_task(self._die_with_host())

    def stop(self, *, timeout_s: float) -> None:
        self.host.stop(timeout_s=timeout_s)

    def add_model(self, backend: ModelBackend, *, generation: int = 0) -> None:
        self.host.add_model(backend, generation=generation)
        self._engine.serve(self.host.models)

    async def retire_model(self, model_id: str) -> None:
        self._engine.serve([info for info in self.models if info.id != model_id])
        await self.host.retire_model(model_id)

    async def _die_with_host(self) -> None:
        await self.host.wait_dead()
        self._engine.die()

    async def open(self, lane: Lane, text: TextOptions | None = None, **more: Any) -> EngineSession:
        return await self._engine.open(lane, text=text or TextOptions(), **more)
