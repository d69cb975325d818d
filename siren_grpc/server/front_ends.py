"""The front ends of a server, each replaced by another when it dies."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic

from siren_grpc.server.front_end import Catalog
from siren_grpc.server.front_end_process import FrontEndDied, FrontEndProcess

_log = logging.getLogger(__name__)
_MOST_DEATHS = 3
_WITHIN_S = 60.0
"""More deaths than that in so long have a cause that another front end would die of, too."""
_RETRY_S = 5.0


class FrontEnds:
    """Starts, replaces and stops them. Belongs to the engine's event loop."""

    def __init__(self, make: Callable[[int], FrontEndProcess], *, count: int, port: int) -> None:
        """Prepare; `start` starts them, and `keep` keeps their number.

        make: makes one that is to listen on a port, 0 to let the system choose. port: of the first.
        """
        self._make = make
        self._port = port
        self._all = [make(port) for _ in range(count)]
        self._catalog: Catalog | None = None
        self._deaths: deque[float] = deque(maxlen=_MOST_DEATHS)
        self.n_deaths = 0
        """Of those that were replaced, or ended the server."""

    def __iter__(self) -> Iterator[FrontEndProcess]:
        """Iterate over those there are; a later change of them changes nothing."""
        return iter(tuple(self._all))

    def __len__(self) -> int:
        """Return how many there are, one that is being replaced included."""
        return len(self._all)

    async def start(self) -> int:
        """Start all and return the port. Raises OSError when it cannot be bound, FrontEndDied."""
        ports = await asyncio.gather(*(front_end.start() for front_end in self))
        self._port = ports[0]
        return self._port

    async def serve(self, catalog: Catalog) -> None:
        """Serve these models from now on, under these names."""
        self._catalog = catalog
        for front_end in self:
            await front_end.serve(catalog)

    async def keep(self) -> None:
        """Replace each that dies, until cancelled.

        The engine, its models and the streams of the others go on; streams of the dead one are
        lost, as to a lost connection. Raises FrontEndDied when too many die, or when no other can
        be started.
        """
        while True:
            dead = await self._next_dead()
            self.n_deaths += 1
            now = monotonic()
            are_too_many = len(self._deaths) == _MOST_DEATHS and now - self._deaths[0] < _WITHIN_S
            self._deaths.append(now)
            # Its port is free only behind its end.
            how = await dead.wait_ended()
            if are_too_many:
                raise FrontEndDied(
                    f"a front end died ({how}), and {_MOST_DEATHS} more within {_WITHIN_S:g} s; "
                    "see the log above"
                )
            _log.error("%s died (%s); starting another", dead.name, how)
            await self._replace(dead)

    async def stop(self, hurry: asyncio.Event) -> None:
        """Let all drain and stop; `keep` must have ended. hurry: as for `FrontEndProcess.stop`."""
        await asyncio.gather(*(front_end.stop(hurry) for front_end in self))

    async def _next_dead(self) -> FrontEndProcess:
        waiting = {
            asyncio.create_task(front_end.wait_gone(), name=f"gone-{front_end.name}"): front_end
            for front_end in self
        }
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return waiting[done.pop()]

    async def _replace(self, dead: FrontEndProcess) -> None:
        """Start another; as often as it takes while others serve, for a file may be broken now."""
        place = self._all.index(dead)
        while True:
            new = self._all[place] = self._make(self._port)
            catalog = self._catalog
            try:
                await new.start(catalog)
                break
            except OSError as error:
                if len(self._all) == 1:
                    raise FrontEndDied(f"no other front end can be started: {error}") from error
                _log.error(
                    "no other front end can be started: %s; the next attempt is in %g s",
                    error,
                    _RETRY_S,
                )
            await asyncio.sleep(_RETRY_S)
        if self._catalog is not None and self._catalog is not catalog:
            await new.serve(self._catalog)  # it has changed meanwhile
        _log.info("%s serves in the place of %s", new.name, dead.name)
