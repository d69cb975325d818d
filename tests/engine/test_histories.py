"""Random operations with faults: everything a client observes is what the model allows."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.history.record import History
from tests.support.history.world import play_all

_N = 400
_N_LONG = 10_000
_WORLD = 200
"""Histories that share a server."""
_SCENARIOS = ("", "", "", "limit", "drain", "", "", "death")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Poisoned steps and dead steppers are logged in full; here they are meant."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def play_worlds(n: int, *, first: int, scenarios: tuple[str, ...]) -> list[History]:
    """Play n histories; fail with a command that plays the first bad one again."""
    histories = []
    for world, start in enumerate(range(first, first + n, _WORLD)):
        scenario = scenarios[world % len(scenarios)]
        seeds = range(start, min(start + _WORLD, first + n))
        for seed, (history, violations) in asyncio.run(play_all(seeds, scenario=scenario)).items():
            command = f"python -m tests.support.history {seed} --show"
            if scenario:
                command += f" --scenario {scenario}"
            assert not violations, f"{violations[:3]}\nplay it again: {command}"
            histories.append(history)
    return histories


@pytest.mark.parametrize("scenario", ["", "limit", "drain", "death"])
def test_what_clients_observe_is_allowed(scenario: str) -> None:
    histories = play_worlds(_N if scenario == "" else _WORLD // 2, first=0, scenarios=(scenario,))
    ends = Counter(history.end for history in histories)
    # What is not reached is not tested.
    assert ends["OK"] > len(histories) / 10
    assert {"": True, "limit": ends["SESSION_TOO_LONG"], "drain": ends["SHUTTING_DOWN"]}.get(
        scenario, ends["INTERNAL_ERROR"]
    )
    if scenario == "":
        assert {"INVALID_MESSAGE", "INVALID_CONFIG", "INVALID_AUDIO", "MODEL_ERROR"} <= set(ends)
        assert any(len(history.told("started")) > 1 for history in histories), "none was resumed"
        assert {told.cause for history in histories for told in history.told("final")} >= {
            *("END", "FINALIZE", "SILENCE", "MAX_UTTERANCE")
        }


@pytest.mark.long
def test_what_clients_observe_is_allowed_ten_thousand_times() -> None:
    histories = play_worlds(_N_LONG, first=1_000_000, scenarios=_SCENARIOS)
    assert len(histories) == _N_LONG
    print(sorted(Counter(history.end for history in histories).items()))
