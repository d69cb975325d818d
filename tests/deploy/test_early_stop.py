"""A server that is asked to stop while it still imports: at once, and as process 1, too."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence

import psutil
import pytest

from tests.support.programs import needs_program
from tests.support.server import SIREN, SirenServer

AS_PROCESS_1 = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]
_HAS_BEGUN = re.compile("setting ")


@pytest.fixture(params=[[], [*AS_PROCESS_1, "--kill-child"]], ids=["process", "process 1"])
def starting(request: pytest.FixtureRequest) -> Iterator[SirenServer]:
    prefix: Sequence[str] = request.param
    if prefix:
        needs_program("unshare", "util-linux")
        if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
            pytest.skip("no namespaces of processes may be made here")
    server = SirenServer(program=[*prefix, str(SIREN)], SIREN_LOG_LEVEL="info")
    try:
        yield server
    finally:
        server.close()


@pytest.mark.slow
def test_it_ends_at_once(starting: SirenServer) -> None:
    starting.wait_for(_HAS_BEGUN)  # the imports of gRPC and all that are ahead of it
    first = psutil.Process(starting.pid)
    inner = first.children() if first.name() == "unshare" else [first]
    inner[0].send_signal(signal.SIGTERM)

    assert starting.wait(timeout_s=30) == 0
    assert "stopping" in starting.log
