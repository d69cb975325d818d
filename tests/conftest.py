"""What all tests share: the server of most end-to-end tests, and how properties are tried."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.server import SirenServer, serving
from tests.support.wire import Wire

# How long a property may think is the machine's business, not a test's. CI tries the same examples
# each time, so that a change fails by its own fault; a developer's machine finds new ones.
settings.register_profile(
    "siren", deadline=None, print_blob=True, derandomize="CI_RUN" in os.environ
)
settings.load_profile("siren")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") is not None:
        import torch  # not where it is for nothing: most tests need none

        if not torch.cuda.is_available():
            pytest.skip("no GPU")


def pytest_runtest_call(item: pytest.Item) -> None:
    """Let `caplog` catch what is logged, whatever NeMo made of its level in an earlier test.

    pytest adds its handlers to each logger that does not propagate, as NeMo's, and NeMo's pipelines
    set the level of all handlers they find there.
    """
    plugin = item.config.pluginmanager.get_plugin("logging-plugin")
    for handler in (plugin.caplog_handler, plugin.report_handler):
        handler.setLevel(logging.NOTSET)


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
