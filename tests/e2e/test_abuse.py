"""Bad requests of every kind beside a live stream; `siren abuse requests` sends very many more."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from siren_grpc.abuse import bad_calls
from siren_grpc.abuse.attacks import ATTACKS, Attack
from siren_grpc.abuse.extremes import numeric_fields
from siren_grpc.abuse.fuzzer import Fuzzer
from siren_grpc.abuse.http2 import Http2, message
from siren_grpc.abuse.idle_connections import hold
from siren_grpc.abuse.live_stream import LiveStream
from siren_grpc.abuse.options import SERVER_FAULTS
from siren_grpc.abuse.outcome import Kind, violation
from siren_grpc.abuse.overload import offer
from siren_grpc.abuse.session_count import all_sessions_free
from siren_grpc.observe.processes import family_use
from tests.support.server import SIREN, SirenServer

pytestmark = pytest.mark.e2e

SESSIONS = 24  # of the shared server
DEADLINE_S = 60.0


def test_an_extreme_number_in_any_field_is_told(running_server: SirenServer) -> None:
    async def run() -> list[str]:
        found = []
        async with await Http2.connect(running_server.target) as connection:
            for path in numeric_fields(bad_calls._Request.DESCRIPTOR):
                for seed in range(6):
                    call = bad_calls.number_in(path, Random(seed))
                    outcome = await connection.call(
                        call.method, call.messages, deadline_s=DEADLINE_S
                    )
                    assert outcome.kind is Kind.STATUS
                    if (fault := violation(outcome, call.expected)) is not None:
                        found.append(f"{call.name}: {fault}")
        return found

    assert asyncio.run(run()) == []


@pytest.mark.parametrize("attack", [a for a, _ in ATTACKS], ids=lambda a: a.__name__)
def test_each_attack_on_the_transport_is_closed_or_answered(
    running_server: SirenServer, attack: Attack
) -> None:
    async def run() -> None:
        for seed in range(8):
            outcome = await attack(running_server.target, Random(seed), DEADLINE_S)
            assert violation(outcome, frozenset(), is_grpcs_own=True) is None, seed

    asyncio.run(run())


def test_a_live_stream_notices_nothing_of_bad_requests(running_server: SirenServer) -> None:
    n_lines = len(running_server.log.splitlines())
    before = family_use(running_server.pid).fds
    with closing(LiveStream(running_server.target)) as live_stream:
        fuzzer = Fuzzer(running_server.target, seed=7, deadline_s=DEADLINE_S)
        report = asyncio.run(fuzzer.run(range(100_000), at_once=4, seconds=6))
        live = live_stream.finish()
    assert report.violations == [], f"seed {report.seed}"
    assert report.n_requests > 50
    assert live.faults() == []
    free = asyncio.run(all_sessions_free(running_server.target, SESSIONS, deadline_s=60))
    assert free is None
    for _ in range(300):
        if (left := family_use(running_server.pid).fds) <= before:
            break
        time.sleep(0.1)
    assert left <= before
    log = running_server.log.splitlines()[n_lines:]
    assert [line for line in log if any(fault in line for fault in SERVER_FAULTS)] == []


def test_a_call_without_its_request_is_answered(running_server: SirenServer) -> None:
    """As gRPC leaves it, such a call hangs until its deadline."""

    async def run() -> None:
        for method in (bad_calls.LIST, bad_calls.RECOGNIZE, "/grpc.health.v1.Health/Watch"):
            async with await Http2.connect(running_server.target) as connection:
                outcome = await connection.call(method, (), deadline_s=DEADLINE_S)
            assert (outcome.code, outcome.reason) == ("INVALID_ARGUMENT", "INVALID_MESSAGE")
            assert "without a request" in outcome.message

    asyncio.run(run())


@pytest.mark.parametrize("field", ["model", "language_code", "request_id"])
def test_a_text_that_is_repeated_to_the_client_fits_its_headers(
    running_server: SirenServer, field: str
) -> None:
    async def run() -> None:
        for text in ("x" * 100_000, "\U0001f3a4" * 30_000, "\0" * 50_000):
            request = bad_calls.config(**{field: text}).SerializeToString()
            async with await Http2.connect(running_server.target) as connection:
                outcome = await connection.call(bad_calls.STREAM, (request,), deadline_s=DEADLINE_S)
            assert outcome.reason in ("INVALID_CONFIG", "MODEL_NOT_FOUND")
            assert len(outcome.message.encode()) <= 1000

    asyncio.run(run())


def test_memory_stays_bounded_under_idle_connections(running_server: SirenServer) -> None:
    """A tenth of what `siren abuse connections` holds, and for moments only."""
    before = family_use(running_server.pid)
    found = asyncio.run(hold(running_server.target, 99, hold_s=2, seed=1))
    assert sum(sum(kinds.values()) for kinds in found.values()) == 99
    assert Kind.HANGS.value not in {kind for kinds in found.values() for kind in kinds}
    for _ in range(300):
        if (left := family_use(running_server.pid)).fds <= before.fds:
            break
        time.sleep(0.1)
    assert left.fds <= before.fds
    assert left.rss_bytes - before.rss_bytes < 100 << 20
    free = asyncio.run(all_sessions_free(running_server.target, SESSIONS, deadline_s=60))
    assert free is None


def test_the_command_reports_and_ends_well(running_server: SirenServer, tmp_path: Path) -> None:
    kept = tmp_path / "abuse.json"
    done = subprocess.run(
        [
            *(str(SIREN), "abuse", "requests", "--requests", "60", "--quiet-s", "0.5"),
            *("--server", running_server.target, "--at-once", "4", "--json", str(kept)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held: 60 bad requests" in done.stdout
    report = json.loads(kept.read_text())
    assert report["live_stream"]["texts"] == 1
    outcomes = report["requests"]["outcomes"].values()
    assert sum(n for found in outcomes for n in found.values()) == 60


def test_streams_beyond_the_capacity_hear_it_soon(running_server: SirenServer) -> None:
    """Of a few more than the shared server takes; `siren abuse overload` measures it."""
    report = asyncio.run(offer(running_server.target, SESSIONS + 6, spread_s=0.5, plays=1))
    assert report.refusals == {"OVERLOADED": 6}
    assert report.n_served == SESSIONS
    assert len(set(report.texts)) == 1
    assert report.texts[0]
    assert len(report.refused_ms) == 6


def test_packed_messages_are_refused(running_server: SirenServer) -> None:
    """Thirty bytes of it could make the server hold thirty thousand."""

    async def run() -> None:
        body = gzip.compress(bad_calls.config().SerializeToString() + bytes(1 << 20))
        async with await Http2.connect(running_server.target) as connection:
            stream = connection.begin(bad_calls.STREAM, headers=[("grpc-encoding", "gzip")])
            connection.data(stream, message(body, flag=1), ends=True)
            outcome = await connection.ends(stream, deadline_s=DEADLINE_S)
        assert (outcome.code, outcome.kind) == ("UNIMPLEMENTED", Kind.STATUS)

    asyncio.run(run())
