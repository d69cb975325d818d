"""A server in a process of its own, for the time of a benchmark."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence

_LISTENING = re.compile(r"listening on \S+:(\d+)")
_SERVING = ": serving "
_SIREN = "from siren_client.cli import main; main()"


class ServerDidNotStart(Exception):
    """The server ended before it served; the message has the end of its log."""


class ServerProcess:
    """Starts `siren serve`, or the empty handler, on a free port and waits until it serves."""

    def __init__(
        self,
        command: Sequence[str],
        on_line: Callable[[str], object] = lambda line: None,
        *,
        is_apart: bool = False,
    ) -> None:
        """Start it; `close` ends it. Raises ServerDidNotStart.

        on_line: told each line of its log, in a thread. is_apart: a terminal's Ctrl-C does not
        reach it.
        """
        self._on_line = on_line
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=is_apart,
        )
        self._log: deque[str] = deque(maxlen=30)
        self._port: str | None = None
        self._is_serving = threading.Event()
        self._has_all_log = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._is_serving.wait()
        if self._process.poll() is not None or self._port is None:
            self.close()
            raise ServerDidNotStart("the server did not start:\n" + "".join(self._log))

    @classmethod
    def siren(
        cls,
        flags: Sequence[str],
        on_line: Callable[[str], object] = lambda line: None,
        *,
        is_apart: bool = False,
    ) -> ServerProcess:
        """Start `siren serve` with more flags. The rest as for making one."""
        command = [sys.executable, "-c", _SIREN, "serve", "--port", "0", *flags]
        return cls(command, on_line, is_apart=is_apart)

    @classmethod
    def empty_handler(cls, *, chunk_ms: int) -> ServerProcess:
        """Start a server that recognises nothing."""
        module = "siren_grpc.bench.empty_handler"
        return cls([sys.executable, "-m", module, str(chunk_ms)])

    def _read(self) -> None:
        if self._process.stderr is None:
            raise AssertionError("stderr is a pipe")
        for line in self._process.stderr:
            self._log.append(line)
            self._on_line(line)
            if match := _LISTENING.search(line):
                self._port = match.group(1)
            if _SERVING in line:
                self._is_serving.set()
        self._has_all_log.set()
        self._process.wait()
        self._is_serving.set()  # or never will be

    @property
    def target(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def how_it_ended(self) -> str | None:
        """Return its status and the end of its log if it has ended by itself, None while it runs.

        Before `close`.
        """
        status = self._process.poll()
        if status is None and self._has_all_log.is_set():
            self._reader.join()  # it waits for the process, of which `poll` knows nothing then
            status = self._process.poll()
        if status is None:
            return None
        return f"the server ended with status {status}; the end of its log:\n{''.join(self._log)}"

    def close(self) -> None:
        """Stop it, gently first."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._reader.join()
        if self._process.stderr is not None:
            self._process.stderr.close()
