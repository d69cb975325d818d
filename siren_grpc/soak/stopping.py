"""Ending a run early, with a verdict on what it did."""

from __future__ import annotations

import asyncio
import signal


def stop_on_signals() -> asyncio.Event:
    """Return what SIGINT and SIGTERM set from now on; in the event loop that runs."""
    is_stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, is_stopping.set)
    return is_stopping
