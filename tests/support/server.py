"""A real `siren serve` process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from tests.support.nursery import Forked, nursery

SIREN = Path(sys.executable).with_name("siren")
_LISTENING = re.compile(r"listening on \S+:(\d+)")
_SERVING = re.compile(r": serving ")


class SirenServer:
    """Starts `siren serve` on a port of the system's choice and reads its log."""

    def __init__(
        self, *arguments: str, program: Sequence[str] | None = None, **environment: str
    ) -> None:
        """Start the process; `close` ends it.

        arguments: flags of `serve`. program: one with that command to run, `(SIREN,)` say; by
        default the process is forked where NeMo is imported already: see `nursery`. environment:
        added to this one's.
        """
        argv = ["serve", "--port", "0", *arguments]
        # Machines that run tests are busy with other things: their servers take all who come.
        env = {"SIREN_MAX_LOAD": "0", **os.environ, **environment}
        self._process: Forked | subprocess.Popen[str]
        if program is None:
            self._process = nursery().start(argv, env)
        else:
            self._process = subprocess.Popen(
                [*program, *argv],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=env,
            )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        """Everything the server has written so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for(self, pattern: re.Pattern[str], *, timeout_s: float = 240) -> re.Match[str]:
        """Return the first match in the log; fail with the log if the process ends before."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or any(pattern.search(line) for line in self._lines),
                timeout_s,
            )
            for line in self._lines:
                if match := pattern.search(line):
                    return match
        raise AssertionError(f"no {pattern.pattern!r} in the server's log:\n{self.log}")

    @property
    def target(self) -> str:
        """Address of the server, once it listens."""
        return f"127.0.0.1:{self.wait_for(_LISTENING).group(1)}"

    def wait_serving(self) -> str:
        """Wait until the model is loaded and return the address."""
        self.wait_for(_SERVING)
        return self.target

    @property
    def pid(self) -> int:
        """Process id of the engine's process; the front ends are its children."""
        return self._process.pid

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def wait(self, *, timeout_s: float = 60) -> int:
        """Return the exit code."""
        code = self._process.wait(timeout_s)
        self._reader.join(timeout_s)
        return code

    def close(self) -> None:
        """End the process, however it is doing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()


@contextmanager
def serving(
    *arguments: str, program: Sequence[str] | None = None, **environment: str
) -> Iterator[SirenServer]:
    """Run a server, as `SirenServer` starts it, for as long as it is used; it serves already."""
    with closing(SirenServer(*arguments, program=program, **environment)) as server:
        server.wait_serving()
        yield server
