"""The server most end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import SirenServer, serving
from tests.support.wire import Wire


@pytest.fixture(scope="session")
def running_server() -> Iterator[SirenServer]:
    """A `siren serve` of the embedded model, loaded and warmed up."""
    with serving("--max-sessions", "24") as server:
        yield server


@pytest.fixture(scope="session")
def wire(running_server: SirenServer) -> Iterator[Wire]:
    """A channel to the shared server."""
    wire = Wire(running_server.target)
    yield wire
    wire.close()
