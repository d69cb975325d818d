from __future__ import annotations

import signal
import subprocess
import sys

import psutil

WITH_A_SERVER = """
import time
from contextlib import closing
from siren_grpc.bench.console import exit_on_sigterm
from siren_grpc.bench.server_process import ServerProcess
exit_on_sigterm()
with closing(ServerProcess.empty_handler(chunk_ms=80)) as server:
    print(server.pid, flush=True)
    time.sleep(60)
"""


def test_a_command_that_is_terminated_leaves_no_server() -> None:
    command = subprocess.Popen(
        [sys.executable, "-c", WITH_A_SERVER], stdout=subprocess.PIPE, text=True
    )
    assert command.stdout is not None
    server = psutil.Process(int(command.stdout.readline()))
    command.send_signal(signal.SIGTERM)
    command.communicate(timeout=60)
    assert command.returncode == 128 + signal.SIGTERM
    assert not server.is_running()
