"""Questions under way to another process, and who waits for the answers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from siren_grpc.server.inspection_messages import Answer, Ask, Question


class Questions:
    """Asks one process. Belongs to one event loop."""

    def __init__(self, send: Callable[[Ask], None]) -> None:
        """Start without questions. send: passes them on."""
        self._send = send
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Any]] = {}
        self._end: Exception | None = None

    async def ask(self, question: Question, *, timeout_s: float) -> Any:
        """Return the answer. Raises asyncio.TimeoutError, and what `give_up` was told."""
        if self._end is not None:
            raise self._end
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(Ask(number, question))
            return await asyncio.wait_for(answer, timeout_s)
        finally:
            del self._open[number]

    def settle(self, answer: Answer) -> None:
        """Take an answer in; one that nobody waits for any more is dropped."""
        waiting = self._open.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer.answer)

    def give_up(self, error: Exception) -> None:
        """Fail every question, now and from now on: the process is gone."""
        self._end = error
        for waiting in self._open.values():
            if not waiting.done():
                waiting.set_exception(error)
