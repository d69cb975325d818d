"""The program `siren`: what has to be done before anything of it is imported."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CLIENTS = frozenset({"transcribe", "listen", "models", "health", "admin"})


def main() -> None:
    """Run the command."""
    if set(sys.argv[1:2]) & _CLIENTS:
        # gRPC's own remarks tell a person nothing that the command does not say itself. It reads
        # this once, when it is imported. A server's remarks stay.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if sys.argv[1:2] == ["serve"]:
        # Process 1 of a container is sent no signal that it has no handler for, and it imports for
        # a second before it has one that says more.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with ctrl_c_ends_quietly():
        from siren_client.cli import main as run
    run()


@contextmanager
def ctrl_c_ends_quietly() -> Iterator[None]:
    """Let Ctrl-C end the process in the body, which imports for a second, without a traceback."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # a shell's background job, say, ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
