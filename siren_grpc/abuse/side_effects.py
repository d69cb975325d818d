"""What an attack does to others: a live stream beside it, and what the server holds for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import psutil

from siren_grpc.abuse.live_stream import LiveStream
from siren_grpc.abuse.process_watch import ProcessWatch
from siren_grpc.abuse.session_count import all_sessions_free
from siren_grpc.bench.statistics import figures

_SETTLE_S = 40.0
_T = TypeVar("_T")


class SideEffects:
    """Watches a live stream, and the server's processes where they are ours to look at."""

    def __init__(self, target: str, recordings: Sequence[Path], *, pid: int | None) -> None:
        """Start the live stream; `close` ends it. pid: the server's. Raises TimeoutError."""
        self._target = target
        self._processes = None if pid is None else ProcessWatch(pid)
        self._live_stream = LiveStream(target, recordings)
        self._report: dict[str, Any] = {}
        self.faults: list[str] = []
        """What must not have happened, in words."""

    async def observe(self, attack: Callable[[], Awaitable[_T]], *, undisturbed_s: float) -> _T:
        """Let the live stream run alone, and then beside an attack; return what that returns."""
        sampling = asyncio.create_task(self._processes.run()) if self._processes else None
        began_at = monotonic()
        await asyncio.sleep(undisturbed_s)
        attacked_at = monotonic()
        found = await attack()
        ended_at = monotonic()
        live = await asyncio.to_thread(self._live_stream.finish)
        if sampling is not None:
            sampling.cancel()
        self.faults += live.faults() + live.lateness(began_at, attacked_at, ended_at)
        self._report["live_stream"] = {
            "plays": len(live.plays),
            "texts": len(set(live.plays)),
            "undisturbed_ms": figures(live.latencies_ms(began_at, attacked_at)),
            "beside_ms": figures(live.latencies_ms(attacked_at, ended_at)),
        }
        return found

    async def count_out(self, n_sessions: int) -> None:
        """Look whether the server holds anything still: sessions, descriptors.

        n_sessions: so many it takes. Does nothing for a server that is not ours to look at.
        """
        if self._processes is None:
            return
        try:
            missing = await all_sessions_free(self._target, n_sessions, deadline_s=_SETTLE_S)
            self.faults += [missing] if missing else []
            left = await self._processes.settle(deadline_s=_SETTLE_S)
        except (OSError, psutil.NoSuchProcess) as error:
            self.faults.append(f"the server is gone, and cannot be counted out: {error}")
            return
        if left.fds > self._processes.before.fds:
            before = self._processes.before.fds
            self.faults.append(f"{left.fds} descriptors are open, {before} before")
        self._report["server"] = self._processes.as_json()

    @property
    def taken_bytes(self) -> int:
        """Memory that the server took for the attack, at most; 0 for one that is not ours."""
        watch = self._processes
        return 0 if watch is None else watch.peak_rss_bytes - watch.before.rss_bytes

    def as_json(self) -> dict[str, Any]:
        """Return `live_stream`, and `server` where it was counted out."""
        return dict(self._report)

    def close(self) -> None:
        """End the live stream, whatever it does."""
        self._live_stream.close()
