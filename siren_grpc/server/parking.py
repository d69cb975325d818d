"""Streams that outlive their calls: kept for a while when a call breaks, found by their token."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.principal import ANONYMOUS, Principal

_log = logging.getLogger(__name__)
_TOKEN_BYTES = 18
_MAX_FINISHED = 1024
"""Streams kept that hold no session any more, but results their client may have missed."""


class Parkable(Protocol):
    """What a parking keeps: `server.stream.Stream`."""

    @property
    def holds_session(self) -> bool:
        """Whether it still has a slot."""
        ...

    @property
    def principal(self) -> Principal:
        """Whose it is: nobody else may go on with it."""
        ...

    def close(self) -> None:
        """Give everything up."""
        ...


_S = TypeVar("_S", bound=Parkable)


class Parking(Generic[_S]):
    """The resumable streams of one front end, by token. Belongs to its event loop.

    A stream is here from its start on, for a client may be back before the server notices that it
    was gone. Parked it is while it has no call; then it is closed after the grace time, or as the
    oldest of too many.
    """

    def __init__(self, *, grace_s: float, max_parked: int) -> None:
        """Keep parked streams so long, and so many at most; a grace of 0 s keeps none."""
        self._grace_s = grace_s
        self._max_parked = max_parked
        self._streams: dict[str, _S] = {}
        self._parked: OrderedDict[str, asyncio.TimerHandle] = OrderedDict()
        self._finished: OrderedDict[str, asyncio.TimerHandle] = OrderedDict()
        self._is_closed = False

    @property
    def keeps_streams(self) -> bool:
        """Whether streams can be resumed here."""
        return self._grace_s > 0 and not self._is_closed

    @property
    def n_parked(self) -> int:
        """Streams without a call that hold a session."""
        return len(self._parked)

    @property
    def parked(self) -> tuple[_S, ...]:
        """Those streams."""
        return tuple(self._streams[token] for token in self._parked)

    @property
    def n_kept(self) -> int:
        """Streams that a client could resume, with a call or without."""
        return len(self._streams)

    def enter(self, token: str, stream: _S) -> None:
        """Take a new stream in, under its token."""
        self._streams[token] = stream

    @staticmethod
    def make_token() -> str:
        """Return a name for a stream that nobody can guess."""
        return secrets.token_urlsafe(_TOKEN_BYTES)

    def park(self, token: str) -> None:
        """Keep a stream whose call is over, for as long as is granted."""
        stream = self._streams.get(token)
        if stream is None:
            return
        if not self.keeps_streams:
            self._drop(token)
            return
        self._keep(token, asyncio.get_running_loop().call_later(self._grace_s, self._drop, token))

    def settle(self, token: str) -> None:
        """Take note that a stream holds no session any more; it is parked no more if it was."""
        timer = self._parked.pop(token, None)
        if timer is not None:
            self._keep(token, timer)

    def claim(self, token: str, principal: Principal = ANONYMOUS) -> _S:
        """Return a stream for a new call, whether or not the old one is known to be over.

        principal: whose the new call is. Raises InvalidConfig for a token this front end does not
        know, or not any more; one of somebody else's stream is answered likewise.
        """
        stream = self._streams.get(token)
        if stream is None or stream.principal != principal:
            raise InvalidConfig.of_resume(
                "token",
                "no stream of this name is kept here (any more); open a new one and send again "
                "what follows the last final",
            )
        self._cancel_timer(token)
        return stream

    def give_up(self, token: str) -> None:
        """Close a stream without a call: its client cannot resume it."""
        self._drop(token)

    def close(self) -> None:
        """End all parked streams, and keep none from now on: the server stops."""
        self._is_closed = True
        for token in [*self._parked, *self._finished]:
            self._drop(token)

    def _keep(self, token: str, timer: asyncio.TimerHandle) -> None:
        holds_session = self._streams[token].holds_session
        rows = self._parked if holds_session else self._finished
        rows[token] = timer
        while len(rows) > (self._max_parked if holds_session else _MAX_FINISHED):
            self._drop(next(iter(rows)))

    def _drop(self, token: str) -> None:
        self._cancel_timer(token)
        stream = self._streams.pop(token)
        if stream.holds_session:
            _log.info("a stream whose client did not come back is over (%d kept)", self.n_parked)
        stream.close()

    def _cancel_timer(self, token: str) -> None:
        timer = self._parked.pop(token, None) or self._finished.pop(token, None)
        if timer is not None:
            timer.cancel()
