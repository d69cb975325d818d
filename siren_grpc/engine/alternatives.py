"""Alternatives: a final waits for other readings of its utterance, and what follows for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from siren_grpc.domain.readings import Alternative, FrameSpan, Reading, distinct
from siren_grpc.domain.results import Final, Partial, Result
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis


class AlternativesStage:
    """Stands behind a stream's `Utterance`, if its finals are to list alternatives.

    While a final waits for its search the newest partial behind it replaces older ones; finals and
    events queue. None stands for an utterance that was discarded.
    """

    def __init__(
        self,
        most: int,
        detokenizer: Detokenizer,
        search: Callable[[FrameSpan], None],
        pass_on: Callable[[Sequence[Result] | None], None],
    ) -> None:
        """Let everything through until a final comes.

        most: alternatives of a final. search: asks for readings, which `receive` brings. pass_on:
        takes the results on, in order.
        """
        self._most = most
        self._detokenizer = detokenizer
        self._search = search
        self._pass_on = pass_on
        self._waiting: Final | None = None
        self._queue: deque[Result | None] = deque()

    @property
    def n_waiting(self) -> int:
        """Results that wait behind a final."""
        return len(self._queue) + (self._waiting is not None)

    def push(self, results: Sequence[Result] | None) -> None:
        """Take what was recognised, in order; None for a discarded utterance."""
        if self._waiting is None:
            self._pass_up_to_final(deque([None] if results is None else results))
            return
        for result in [None] if results is None else results:
            if isinstance(result, Partial) and self._queue and isinstance(self._queue[-1], Partial):
                self._queue.pop()
            self._queue.append(result)

    def receive(self, readings: Sequence[Reading]) -> None:
        """Take what the search for the waiting final found."""
        if self._waiting is None:
            raise AssertionError("no final waits for readings")
        alternatives = alternatives_of(
            self._waiting.text, readings, self._detokenizer, most=self._most
        )
        final, self._waiting = replace(self._waiting, alternatives=alternatives), None
        self._pass_on([final])
        queue, self._queue = self._queue, deque()
        self._pass_up_to_final(queue)

    def _pass_up_to_final(self, queue: deque[Result | None]) -> None:
        passing: list[Result] = []
        while queue and self._waiting is None:
            result = queue.popleft()
            if result is None:
                self._pass_on(passing)
                self._pass_on(None)
                passing = []
            elif isinstance(result, Final) and result.text and result.frames is not None:
                self._waiting = result
                self._search(result.frames)
            else:
                passing.append(result)
        self._queue.extend(queue)
        self._pass_on(passing)


def alternatives_of(
    text: str, readings: Sequence[Reading], detokenizer: Detokenizer, *, most: int
) -> tuple[Alternative, ...]:
    """Return the texts of readings that differ from a final's own, the likeliest first."""
    best = max((reading.log_prob for reading in readings), default=0.0)
    total = sum(math.exp(reading.log_prob - best) for reading in readings)
    spelled = []
    for reading in readings:
        hypothesis = Hypothesis(detokenizer)
        hypothesis.extend(reading.tokens)
        probability = math.exp(reading.log_prob - best) / total
        spelled.append(Alternative(hypothesis.finish(), probability))
    return distinct(text, spelled)[:most]
