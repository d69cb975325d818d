from __future__ import annotations

import asyncio
import json
import logging

from siren_grpc.observe.log_context import current_call, enter_call
from siren_grpc.observe.logging import JsonFormatter, take_in_nemo


class Names:
    session = "abc"
    request = ""
    principal_name = "team-a"


def test_what_nemo_says_is_told_in_the_form_of_the_log() -> None:
    nemo = logging.getLogger("nemo_logger")
    before = (nemo.handlers[:], nemo.level, nemo.propagate)
    try:
        nemo.handlers[:] = [logging.StreamHandler()]
        nemo.setLevel(logging.INFO)
        nemo.propagate = False

        take_in_nemo("info")
        assert (nemo.handlers, nemo.propagate) == ([], True)
        assert not nemo.isEnabledFor(logging.WARNING)
        assert nemo.isEnabledFor(logging.ERROR)

        nemo.setLevel(logging.INFO)
        take_in_nemo("debug")
        assert nemo.isEnabledFor(logging.INFO)
    finally:
        nemo.handlers[:], nemo.level, nemo.propagate = before


def line(**more: object) -> dict[str, object]:
    record = logging.makeLogRecord(
        {"name": "siren_grpc.x", "levelname": "INFO", "msg": "told %s", "args": ("it",), **more}
    )
    return json.loads(JsonFormatter("engine").format(record))


def test_outside_of_a_call_a_line_says_nothing_of_one() -> None:
    found = line()
    assert found.pop("time")
    assert found == {
        "level": "info",
        "logger": "siren_grpc.x",
        "process": "engine",
        "message": "told it",
    }


async def test_a_task_of_a_call_knows_what_the_call_learns_later() -> None:
    async def call() -> dict[str, object]:
        names = Names()
        context = enter_call(names)
        learnt = asyncio.Event()

        async def reader() -> dict[str, object]:
            await learnt.wait()
            return line()

        reading = asyncio.create_task(reader())
        await asyncio.sleep(0)
        names.request = "order 66"
        context.engine_session = 7
        learnt.set()
        return await reading

    found = await asyncio.create_task(call())
    assert (found["session_id"], found["request_id"]) == ("abc", "order 66")
    assert (found["principal"], found["engine_session"]) == ("team-a", 7)
    assert "trace_id" not in found
    assert current_call() is None  # of its task only


def test_an_exception_stays_on_its_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.makeLogRecord({"msg": "failed", "exc_info": info})
    text = JsonFormatter("engine").format(record)
    assert "\n" not in text
    assert "two\nlines" in json.loads(text)["exception"]
