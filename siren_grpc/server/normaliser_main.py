"""A front end's normaliser: `python -m siren_grpc.server.normaliser_main FD`.

Started by `NormaliserProcess`; FD is its end of a socket pair. In a process of its own because a
grammar keeps the interpreter for milliseconds at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from siren_grpc.observe.logging import configure_logging
from siren_grpc.server.itn_grammar import ItnGrammar
from siren_grpc.server.link import Link
from siren_grpc.server.normaliser_messages import (
    NormaliserSetup,
    Prepare,
    Prepared,
    Write,
    Wrote,
)
from siren_grpc.text.normalisation import write

_log = logging.getLogger("siren_grpc.server.normaliser")  # __name__ is __main__
_NICENESS = 5
"""Behind the front end's: how a number looks is less urgent than that it is heard."""


class _Writer:
    """Answers each message at once: there is nothing else to do."""

    def __init__(self) -> None:
        self._grammars: dict[str, ItnGrammar] = {}
        self._cache: Path | None = None

    def answer(self, message: Any) -> Prepared | Wrote | None:
        if isinstance(message, NormaliserSetup):
            configure_logging(message.log_level)
            if message.log_level != "debug":  # the library tells of every file it writes
                logging.getLogger().setLevel(logging.WARNING)
                logging.getLogger("siren_grpc").setLevel(message.log_level.upper())
            self._cache = None if message.cache is None else Path(message.cache)
        elif isinstance(message, Prepare):
            return Prepared(message.language, is_ready=self._load(message.language))
        elif isinstance(message, Write):
            return Wrote(message.number, write(message.task, self._grammars[message.language]))
        return None

    def _load(self, language: str) -> bool:
        try:
            self._grammars[language] = ItnGrammar(language, cache=self._cache)
        except Exception:
            _log.exception("cannot load the %s grammar", language)
            return False
        _log.info("grammar %s is loaded", language)
        return True


async def _run(end: socket.socket) -> None:
    is_closed = asyncio.Event()
    writer = _Writer()

    def receive(message: Any) -> None:
        answer = writer.answer(message)
        if answer is not None:
            link.send(answer)

    link = await Link.connect(end, receive, on_closed=is_closed.set)
    await is_closed.wait()


def main() -> None:
    """Run until the front end closes its end, or is gone."""
    # A terminal's Ctrl-C reaches every process of the group; the front end says when to end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    asyncio.run(_run(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
