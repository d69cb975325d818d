"""The normaliser's real process, with the real grammar of English."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from siren_grpc.domain.errors import InternalError
from siren_grpc.server.normaliser_process import NormaliserProcess
from siren_grpc.text.normalisation import Task, split
from tests.support.programs import needs_module

needs_module("nemo_text_processing", "itn")
pytestmark = [pytest.mark.itn, pytest.mark.slow]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grammars")


@pytest.fixture
async def normaliser(cache: Path) -> AsyncIterator[NormaliserProcess]:
    normaliser = NormaliserProcess(log_level="warning", cache=cache)
    yield normaliser
    await normaliser.close()


def task(text: str) -> Task:
    parts, _ = split(text, at_hyphens=True)
    return Task((), tuple(parts), ())


async def test_words_are_written_in_order_and_without_blocking(
    normaliser: NormaliserProcess,
) -> None:
    await asyncio.gather(normaliser.prepare("en"), normaliser.prepare("en"))
    texts = [f"{tens} {ones} dollars" for tens in ("twenty", "sixty") for ones in ("one", "two")]
    written = await asyncio.gather(*(normaliser.write("en", task(text)) for text in texts))
    assert [part.shown for part in written] == ["$21", "$22", "$61", "$62"]


async def test_a_process_that_dies_fails_what_waits_and_is_started_again(
    normaliser: NormaliserProcess,
) -> None:
    await normaliser.prepare("en")
    waiting = asyncio.create_task(normaliser.write("en", task("twenty five " * 200)))
    await asyncio.sleep(0)
    assert normaliser.pid is not None
    os.kill(normaliser.pid, signal.SIGKILL)
    with pytest.raises(InternalError, match="stopped unexpectedly"):
        await asyncio.wait_for(waiting, 60)
    # Streams that waited for nothing go on, in whatever language.
    assert (await normaliser.write("en", task("twenty five"))).shown == "25"
    assert (await normaliser.write("de", task("zwei"))).shown == "zwei"


async def test_a_language_that_cannot_be_loaded_says_so(normaliser: NormaliserProcess) -> None:
    for _ in range(2):
        with pytest.raises(InternalError):
            await asyncio.wait_for(normaliser.prepare("xx"), 60)
    await normaliser.prepare("en")


async def test_closing_ends_the_process(normaliser: NormaliserProcess) -> None:
    await normaliser.close()
    await normaliser.prepare("en")
    pid = normaliser.pid
    assert pid is not None
    await normaliser.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
