"""A front end in a process of its own: `python -m siren_grpc.server.front_end_main FD`.

Started by `FrontEndProcess`; FD is its end of a socket pair. It imports neither torch nor a model.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from typing import Any

from siren_grpc.engine.engine import Engine
from siren_grpc.observe.logging import configure_logging
from siren_grpc.observe.loop_lag import watch_loop_lag
from siren_grpc.observe.tracing import make_tracing
from siren_grpc.server.engine_watch import EngineWatch
from siren_grpc.server.free_memory import give_back_freed, keep_one_heap
from siren_grpc.server.front_end import Catalog, FrontEnd
from siren_grpc.server.front_end_messages import (
    Beat,
    Bound,
    EngineDied,
    FrontEndSetup,
    NotBound,
    Stop,
)
from siren_grpc.server.front_end_tally import FrontEndTally
from siren_grpc.server.inspection_messages import Ask
from siren_grpc.server.itn import grammar_cache
from siren_grpc.server.link import Link
from siren_grpc.server.lost_calls import quiet_lost_calls
from siren_grpc.server.normaliser_process import NormaliserProcess

_log = logging.getLogger(__name__)
_NICENESS = 5
"""A step interrupted for every packet loses its caches. Packets wait for moments, steps do not."""
_LAST_WORDS_S = 1.0
"""How long streams get to hear that the engine's process is gone."""


async def _run(end: socket.socket) -> None:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    engine: Engine | None = None
    front_end: FrontEnd | None = None
    watch: EngineWatch | None = None

    def receive(message: Any) -> None:
        if isinstance(message, list) and engine is not None:
            engine.deliver(message)
        elif isinstance(message, Ask):
            if front_end is not None:
                link.send(front_end.inspector.answer(message))
        elif isinstance(message, Beat):
            if watch is not None:
                watch.hear(is_stuck=message.is_stuck)
        else:
            inbox.put_nowait(message)

    link = await Link.connect(end, receive, on_closed=lambda: inbox.put_nowait(None))
    setup = await inbox.get()
    if not isinstance(setup, FrontEndSetup):
        return  # the engine's process ended before it said anything
    configure_logging(setup.log_level, setup.log_format, process=setup.process)
    quiet_lost_calls()
    tracing = None if setup.tracing == "off" else make_tracing(setup.process)
    tally = FrontEndTally(setup.process, tracing)
    watching_lag = asyncio.create_task(watch_loop_lag(tally.loop_lag))
    normaliser = NormaliserProcess(log_level=setup.log_level, cache=grammar_cache())
    engine = Engine(
        setup.config.engine,
        link.send,
        front_end=setup.number,
        normaliser=normaliser,
        tally=tally.tally,
    )
    try:
        front_end = FrontEnd(setup.config, engine, tally)
        if setup.catalog is not None:  # behind `start` somebody would be told that none is loaded
            await front_end.serve(setup.catalog)
        link.send(Bound(await front_end.start()))
    except (OSError, ValueError) as error:
        link.send(NotBound(str(error)))
        link.close()
        return
    watch = EngineWatch(
        engine,
        front_end,
        silent_s=setup.config.stuck_step_s,
        exit_s=setup.config.stuck_exit_s,
    )
    watching_engine = asyncio.create_task(watch.run(), name="watch-engine")
    serving = front_end
    trimming = asyncio.create_task(give_back_freed(lambda: serving.is_idle), name="free-memory")
    for language in setup.config.itn_languages:
        normaliser.preload(language)
    hurry = asyncio.Event()
    is_asked = await _serve(inbox, engine, front_end)
    if not is_asked:
        watching_engine.cancel()
    if is_asked:
        watching = asyncio.create_task(_watch_haste(inbox, engine, hurry))
        await front_end.stop(hurry)
        watching.cancel()
        watching_engine.cancel()
        await normaliser.close()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)
        link.close()
    else:
        _log.error("the engine's process is gone; ending every stream")
        engine.die()
        await asyncio.sleep(_LAST_WORDS_S)
        hurry.set()
        await front_end.stop(hurry)
        await normaliser.close()
    trimming.cancel()
    watching_lag.cancel()


async def _serve(inbox: asyncio.Queue[Any], engine: Engine, front_end: FrontEnd) -> bool:
    """Follow the engine's process until it says stop; return whether it did, or is gone."""
    while True:
        message = await inbox.get()
        if isinstance(message, Catalog):
            await front_end.serve(message)
        elif isinstance(message, EngineDied):
            engine.die()
        elif isinstance(message, Stop):
            if message.in_haste:
                inbox.put_nowait(message)
            return True
        elif message is None:
            return False


async def _watch_haste(inbox: asyncio.Queue[Any], engine: Engine, hurry: asyncio.Event) -> None:
    """Set `hurry` when the engine's process wants it, or is gone."""
    while True:
        message = await inbox.get()
        if isinstance(message, Stop):
            hurry.set()
        elif isinstance(message, EngineDied) or message is None:
            engine.die()
            hurry.set()


def main() -> None:
    """Run until the engine's process says stop, or is gone."""
    # A terminal's Ctrl-C and an init system's SIGTERM reach every process of the group; the
    # engine's process follows them and says what to do.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Ended because it does not answer, or crashed in native code: it says where.
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    os.nice(_NICENESS)
    keep_one_heap()
    gc.freeze()  # what is imported stays: a collection of garbage would hold up every stream for it
    asyncio.run(_run(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
