"""`siren health`: is a server ready."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated

import grpc
import typer

from siren_client.cli.flags import ConnectionFlags, takes_flags
from siren_client.cli.options import (
    FAILED,
    JsonOption,
    errors_console,
    reported_errors,
)
from siren_client.errors import SirenError
from siren_client.types import ServingStatus

_POLL_S = 0.5
_ANSWER_S = 5.0
_HINTS = {
    ServingStatus.NOT_SERVING: "It loads its model, or stops: --wait SECONDS waits for it.",
    ServingStatus.SERVICE_UNKNOWN: "A Siren has siren.v1.SpeechService and liveness.",
}
_NOT_YET = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


@takes_flags
def health(
    connection: ConnectionFlags,
    service: Annotated[
        str,
        typer.Option(
            help="Ask for one service, such as siren.v1.SpeechService.", show_default=False
        ),
    ] = "",
    wait: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Wait up to this long until it serves.",
        ),
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Ask a server how it is. Exit status 0 when it serves, 1 otherwise.

    **Examples**

    - `siren health`
    - `siren health --wait 60 && siren transcribe talk.wav`: for scripts that start a server
    """
    with (
        reported_errors(connection.server),
        connection.make_client(timeout_s=_ANSWER_S) as client,
    ):
        status = poll_health(
            lambda: client.health(service), wait_s=wait, clock=time.monotonic, sleep=time.sleep
        )
    if as_json:
        print(json.dumps({"server": connection.server, "service": service, "status": status.value}))
    else:
        print(status.name)
    if status is not ServingStatus.SERVING:
        if hint := _HINTS.get(status):
            errors_console().print(hint, style="dim", markup=False)
        raise typer.Exit(FAILED)


def poll_health(
    check: Callable[[], ServingStatus],
    *,
    wait_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> ServingStatus:
    """Ask until the answer is SERVING or the time is up; give the last answer.

    Raises:
        SirenError: The last answer was none, or the server refuses to answer.
    """
    end_s = clock() + wait_s
    while True:
        try:
            status = check()
        except SirenError as error:
            if error.status not in _NOT_YET or clock() >= end_s:
                raise
        else:
            if status is ServingStatus.SERVING or clock() >= end_s:
                return status
        sleep(min(_POLL_S, max(0.0, end_s - clock())))
