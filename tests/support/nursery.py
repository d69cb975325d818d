"""Servers that are forked from a process which has imported NeMo already.

To import it takes most of a server's start, and the tests start a hundred of them. A forked one
does all the rest as `siren serve` does, from its flags on. `Nursery` is the tests' end;
`python -m tests.support.nursery FD` is the process, which it starts.
"""

from __future__ import annotations

import array
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TextIO

_MOST_BYTES = 1 << 17
"""Of a message; the largest has the environment."""


class Forked:
    """A process of a nursery's: what `subprocess.Popen` would have been."""

    def __init__(self, nursery: Nursery, pid: int, stderr: TextIO) -> None:
        self.pid = pid
        self.stderr = stderr
        self._nursery = nursery

    def poll(self) -> int | None:
        return self._nursery.status_of(self.pid, 0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._nursery.status_of(self.pid, timeout)
        if status is None:
            raise subprocess.TimeoutExpired(["siren"], timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Starts processes, and learns how they ended. One at a time may start."""

    def __init__(self) -> None:
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._may_start = threading.Lock()
        self._changed = threading.Condition()
        self._started: int | None = None
        self._statuses: dict[int, int] = {}
        self._is_closed = False
        threading.Thread(target=self._read, daemon=True).start()

    def start(self, argv: Sequence[str], environment: Mapping[str, str]) -> Forked:
        """Run `siren` with these arguments and no other environment than this."""
        order = {"argv": list(argv), "environment": dict(environment), "cwd": os.getcwd()}
        mine, theirs = os.pipe()
        try:
            with self._may_start:
                fds = array.array("i", [theirs])
                ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)]
                self._link.sendmsg([json.dumps(order).encode()], ancillary)
                with self._changed:
                    self._changed.wait_for(lambda: self._started or self._is_closed, 240)
                    pid, self._started = self._started, None
        finally:
            os.close(theirs)
        if pid is None:
            os.close(mine)
            self._link.shutdown(socket.SHUT_RDWR)  # an answer that came later would be another's
            raise AssertionError("the process that forks servers is gone")
        return Forked(self, pid, os.fdopen(mine))

    def status_of(self, pid: int, timeout_s: float | None) -> int | None:
        """Return what a process ended with, as Popen would; None when it has not in this time."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._statuses or self._is_closed, timeout_s)
            return self._statuses.get(pid)

    def _read(self) -> None:
        while message := self._link.recv(_MOST_BYTES):
            said = json.loads(message)
            with self._changed:
                if "status" in said:
                    self._statuses[said["pid"]] = said["status"]
                else:
                    self._started = said["pid"]
                    self._statuses.pop(said["pid"], None)  # of a process that had the number before
                self._changed.notify_all()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


@cache
def nursery() -> Nursery:
    """Return the nursery of this process; it ends with it."""
    return Nursery()


def _run(link: socket.socket) -> Sequence[str] | None:
    """Fork at each order; return its arguments in the child, None when there are no more."""
    woken, wakes = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wakes)
    alive: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 1024)
                for pid, status in _ended(alive):
                    link.send(json.dumps({"pid": pid, "status": status}).encode())
            if link.fileno() not in ready:
                continue
            order, ancillary, _, _ = link.recvmsg(_MOST_BYTES, socket.CMSG_SPACE(4))
            if not order:
                break
            (stderr,) = array.array("i", ancillary[0][2])
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for fd in (woken, wakes):
                    os.close(fd)
                return _become(json.loads(order), stderr)
            os.close(stderr)
            alive.add(pid)
            link.send(json.dumps({"pid": pid}).encode())
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    return None


def _ended(alive: set[int]) -> list[tuple[int, int]]:
    """Return which have ended, and with what; they are not alive any more."""
    ended = []
    for pid in list(alive):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            alive.discard(pid)
            ended.append((pid, os.waitstatus_to_exitcode(status)))
    return ended


def _become(order: dict[str, Any], stderr: int) -> Sequence[str]:
    os.dup2(stderr, 2)
    os.close(stderr)
    # Made anew, for the old one takes a pipe for a file that can be sought in.
    sys.stderr = sys.__stderr__ = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    argv: list[str] = order["argv"]
    return argv


def main() -> None:
    """Import what takes long, and then serve whoever has the other end of a socket."""
    from siren_grpc.runtime import importing_for_good, share_the_cores

    share_the_cores()
    with importing_for_good():
        import siren_grpc.models.start  # noqa: F401
    if "grpc" in sys.modules:
        raise AssertionError("gRPC does not outlive a fork")
    link = socket.socket(fileno=int(sys.argv[1]))
    argv = _run(link)
    link.close()
    if argv is None:
        return
    sys.argv = ["siren", *argv]
    from siren_command import main as siren

    siren()


if __name__ == "__main__":
    main()
