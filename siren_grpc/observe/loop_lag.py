"""How late an event loop is: the delay everything in it suffers, measured with a timer."""

from __future__ import annotations

import asyncio

from siren_grpc.observe.instruments import Histogram

_INTERVAL_S = 0.25


async def watch_loop_lag(lag: Histogram) -> None:
    """Count, four times a second, how late the running loop comes to a timer; until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        lag.observe(max(0.0, loop.time() - due))
