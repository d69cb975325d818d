"""Random operations with faults, over gRPC and with the embedded model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.audio import shipped_recordings
from tests.support.history.wire import play_all
from tests.support.server import SirenServer, serving

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server() -> Iterator[SirenServer]:
    """Keeps streams long enough for clients of a busy machine to come back."""
    with serving("--max-sessions", "32", "--resume-grace-s", "10") as server:
        yield server


def play(server: SirenServer, n: int, *, first: int) -> None:
    speech = [r.pcm for r in shipped_recordings() if r.sample_rate_hertz == 16000 and r.reference]
    seeds = range(first, first + n)
    found = asyncio.run(play_all(server.target, seeds, speech, at_once=8))
    bad = {seed: violations for seed, (_, violations) in found.items() if violations}
    assert not bad, f"of {n}, {len(bad)} are bad, the first {next(iter(bad.items()))}"
    assert any(told.text for history, _ in found.values() for told in history.told("final"))
    assert any(len(history.told("started")) > 1 for history, _ in found.values())


def test_what_clients_observe_is_allowed(server: SirenServer) -> None:
    play(server, 24, first=0)


@pytest.mark.long
def test_what_clients_observe_is_allowed_four_hundred_times(server: SirenServer) -> None:
    play(server, 400, first=1000)
