"""What a server's processes use while it is attacked."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import psutil

from siren_grpc.observe.processes import ProcessUse, family_use

_POLL_S = 0.25


class ProcessWatch:
    """Samples what a process and its children use, all together."""

    def __init__(self, pid: int) -> None:
        """Note what they use before. Raises psutil.NoSuchProcess."""
        self._pid = pid
        self.before = self.now = family_use(pid)
        self._samples = [self.before]

    async def run(self) -> None:
        """Sample four times a second until cancelled, or the server is gone."""
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                self._sample()
            except psutil.NoSuchProcess:
                return

    async def settle(self, *, deadline_s: float) -> ProcessUse:
        """Wait until they have no more descriptors open than before; return what they use then.

        deadline_s: seconds from now, behind which it is returned as it is. Raises
        psutil.NoSuchProcess.
        """
        deadline = monotonic() + deadline_s
        while True:
            now = self._sample()
            if now.fds <= self.before.fds or monotonic() > deadline:
                return now
            await asyncio.sleep(_POLL_S)

    @property
    def peak_rss_bytes(self) -> int:
        """The most memory they held."""
        return max(sample.rss_bytes for sample in self._samples)

    def as_json(self) -> dict[str, Any]:
        """Return memory and descriptors before, at most and now."""
        now, before = self.now, self.before
        return {
            "rss_bytes": {
                **{"before": before.rss_bytes, "most": self.peak_rss_bytes},
                "after": now.rss_bytes,
            },
            "fds": {
                **{"before": before.fds, "most": max(sample.fds for sample in self._samples)},
                "after": now.fds,
            },
        }

    def _sample(self) -> ProcessUse:
        self.now = family_use(self._pid)
        self._samples.append(self.now)
        return self.now
