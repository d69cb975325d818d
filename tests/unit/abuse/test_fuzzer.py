"""A server that dies of a request is told, whichever kind of request comes next."""

from __future__ import annotations

import asyncio
import socket

import pytest

from siren_grpc.abuse.fuzzer import Fuzzer, FuzzReport


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("start", range(8))
def test_a_server_that_does_not_answer_is_a_violation_and_the_end(host: str, start: int) -> None:
    fuzzer = Fuzzer(f"{host}:{free_port()}", seed=1, deadline_s=5.0)
    report = asyncio.run(fuzzer.run(range(start, 100_000), at_once=1))
    assert report.n_requests == 1
    (found,) = report.violations
    assert found.index == start
    assert found.fault.startswith("the server does not answer")


def test_a_server_that_dies_meanwhile_ends_the_run_with_its_report() -> None:
    async def run() -> FuzzReport:
        n_left = 3

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal n_left
            n_left -= 1
            if not n_left:
                server.close()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        fuzzer = Fuzzer(f"127.0.0.1:{port}", seed=1, deadline_s=5.0)
        return await fuzzer.run(range(1000), at_once=2)

    report = asyncio.run(run())
    assert 3 <= report.n_requests < 10
    assert any("does not answer" in found.fault for found in report.violations)
