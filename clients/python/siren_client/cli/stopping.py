"""How a command ends before its end: Ctrl-C, and a reader of its output that has gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import typer

from siren_client.cli.options import INTERRUPTED

_BROKEN_PIPE = 128 + 13  # as a shell reports a program that SIGPIPE ended


class Interrupt:
    """Whether Ctrl-C was pressed."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def is_set(self) -> bool:
        """Whether it was."""
        return self._event.is_set()

    def set(self) -> None:
        """Remember that it was."""
        self._event.set()

    def guard(self, messages: Iterable[bytes]) -> Iterator[bytes]:
        """Give messages until Ctrl-C is pressed: the audio ends there."""
        for message in messages:
            if self.is_set:
                return
            yield message


@contextmanager
def interrupt_calls(stop: Callable[[], None]) -> Iterator[Interrupt]:
    """Let the first Ctrl-C call `stop`, which must not wait, and the second end the command."""
    interrupt = Interrupt()
    previous = signal.getsignal(signal.SIGINT)

    def handle(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, previous)
        interrupt.set()
        stop()

    try:
        signal.signal(signal.SIGINT, handle)
    except ValueError:  # not the main thread, which gets no signals
        yield interrupt
        return
    try:
        yield interrupt
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def quiet_on_broken_pipe() -> Iterator[None]:
    """End without a word when nobody reads stdout any more, as after `| head`."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes stdout once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BROKEN_PIPE) from None
