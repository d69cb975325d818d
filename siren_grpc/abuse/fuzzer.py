"""Very many bad requests, each made from its own seed, so that every one can be made again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic
from typing import Any, TypeVar

from siren_grpc.abuse.attacks import ATTACKS
from siren_grpc.abuse.bad_calls import FAMILIES
from siren_grpc.abuse.http2 import Http2
from siren_grpc.abuse.outcome import Kind, Outcome, violation

_ATTACKS_IN_100 = 15
"""How many of a hundred requests attack the transport; the others are calls."""
_GONE = "the server does not answer"
_REFUSED = "Connect call failed"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Violation:
    """A request whose end is not what it may be."""

    index: int
    name: str
    fault: str


@dataclass(slots=True)
class FuzzReport:
    """What became of the requests."""

    seed: int
    n_requests: int = 0
    seconds: float = 0.0
    outcomes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How often each outcome was, by family of requests."""
    violations: list[Violation] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as what JSON can hold."""
        return {
            "seed": self.seed,
            "requests": self.n_requests,
            "seconds": self.seconds,
            "slowest_s": self.slowest_s,
            "slowest": self.slowest,
            "outcomes": {name: dict(found) for name, found in sorted(self.outcomes.items())},
            "violations": [(v.index, v.name, v.fault) for v in self.violations],
        }


class Fuzzer:
    """Requests by number: the same number of the same seed is the same request."""

    def __init__(self, target: str, *, seed: int, deadline_s: float) -> None:
        """Aim. deadline_s: for the server's answer to each."""
        self._target = target
        self._deadline_s = deadline_s
        self._report = FuzzReport(seed)
        self._is_server_gone = False

    async def run(
        self,
        indices: Sequence[int],
        *,
        at_once: int,
        on_done: Callable[[int], None] = lambda n: None,
        seconds: float = float("inf"),
    ) -> FuzzReport:
        """Make the requests, so many at once. seconds: after which no more of them begin.

        A server that takes no connection has died: that is a violation, and the end.
        """
        started = monotonic()
        rest = iter(indices)

        async def work() -> None:
            connection: Http2 | None = None
            for index in rest:
                if self._is_server_gone or monotonic() - started > seconds:
                    break
                connection = await self._request(index, connection)
                on_done(self._report.n_requests)
            if connection is not None:
                await connection.vanish()

        await asyncio.gather(*(work() for _ in range(at_once)))
        self._report.seconds = monotonic() - started
        return self._report

    async def _request(self, index: int, connection: Http2 | None) -> Http2 | None:
        """Make a request; return the connection for the next one if it is still good."""
        random = Random(f"{self._report.seed}:{index}")
        began = monotonic()
        if random.randrange(100) < _ATTACKS_IN_100:
            attack = _one_of(ATTACKS, random)
            family = name = attack.__name__
            try:
                outcome = await attack(self._target, random, self._deadline_s)
                fault = violation(outcome, frozenset(), is_grpcs_own=True)
            except OSError as error:
                outcome = Outcome(Kind.CLOSED, message=str(error))
                fault = self._fault_of(error)
        else:
            make = _one_of(FAMILIES, random)
            family, call = make.__name__, make(random)
            name = call.name
            try:
                connection = connection or await Http2.connect(self._target)
            except OSError as error:
                outcome = Outcome(Kind.CLOSED, message=str(error))
                fault = self._fault_of(error) or f"it could not be sent: {error}"
            else:
                outcome = await connection.call(
                    call.method, call.messages, deadline_s=self._deadline_s
                )
                fault = violation(outcome, call.expected, is_grpcs_own=call.is_grpcs_own)
                if outcome.kind is not Kind.STATUS:
                    await connection.vanish()
                    connection = None
        self._note(index, family, name, outcome, fault, monotonic() - began)
        return connection

    def _fault_of(self, error: OSError) -> str | None:
        """Return what an error of a connection says of the server: whether it is still there."""
        # Where a name has several addresses, asyncio says so but in words.
        if not (isinstance(error, ConnectionRefusedError) or _REFUSED in str(error)):
            return None
        self._is_server_gone = True
        return f"{_GONE}: {error}"

    def _note(
        self, index: int, family: str, name: str, outcome: Outcome, fault: str | None, took_s: float
    ) -> None:
        report = self._report
        report.n_requests += 1
        report.outcomes[family.replace("_", " ")][outcome.label] += 1
        if took_s > report.slowest_s:
            report.slowest_s, report.slowest = took_s, f"{index}: {name}"
        if fault is not None:
            report.violations.append(Violation(index, name, fault))


def _one_of(weighted: Sequence[tuple[_T, float]], random: Random) -> _T:
    return random.choices([item for item, _ in weighted], [weight for _, weight in weighted])[0]
