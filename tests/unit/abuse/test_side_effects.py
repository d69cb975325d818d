"""What an attack does to the live stream beside it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from siren_grpc.abuse import side_effects
from siren_grpc.abuse.live_stream import LiveStreamReport
from siren_grpc.abuse.side_effects import SideEffects
from siren_grpc.bench.latency import Latency

ALONE_S, BESIDE_S = 20.0, 40.0


def heard(beside_s: float) -> LiveStreamReport:
    """Return what was heard: four partials a second, quick ones before the attack."""
    alone = [Latency(number / 4 + 0.01, 0.01) for number in range(80)]
    beside = [Latency(number / 4 + beside_s, beside_s) for number in range(80, 160)]
    return LiveStreamReport(["one two"] * 3, [*alone, *beside])


class ScriptedStream:
    """In the place of the live stream: has heard what the test says."""

    def __init__(self, report: LiveStreamReport) -> None:
        self.report = report

    def finish(self) -> LiveStreamReport:
        return self.report

    def close(self) -> None:
        """Nothing to end."""


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """When the stream is alone from, when the attack begins, and when it ends."""
    found = iter((0.0, ALONE_S, BESIDE_S))
    monkeypatch.setattr(side_effects, "monotonic", lambda: next(found))
    return found


@pytest.mark.parametrize(("beside_s", "told"), [(0.04, []), (0.9, ["came after 900 ms (p95)"])])
@pytest.mark.usefixtures("moments")
def test_its_latency_is_held_against_that_alone(
    beside_s: float, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = heard(beside_s)
    monkeypatch.setattr(side_effects, "LiveStream", lambda *_: ScriptedStream(report))
    effects = SideEffects("127.0.0.1:1", [], pid=None)

    async def attack() -> str:
        return "done"

    assert asyncio.run(effects.observe(attack, undisturbed_s=0)) == "done"

    assert len(effects.faults) == len(told)
    assert all(part in fault for part, fault in zip(told, effects.faults, strict=True))
    live = effects.as_json()["live_stream"]
    assert live["undisturbed_ms"]["n"] == live["beside_ms"]["n"] == 80
