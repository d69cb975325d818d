"""`siren admin`: what a server is doing, for its operator."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from siren.v1 import admin_pb2 as pb
from siren.v1 import admin_pb2_grpc

from siren_client.cli.options import FAILED, JsonOption, fail
from siren_client.cli.stopping import quiet_on_broken_pipe
from siren_client.cli.tables import fitting_table, tables_console
from siren_client.errors import SirenError, siren_errors

_ANSWER_S = 5.0
_SHOWN_ID = 8
_STATES = {
    pb.SESSION_STATE_LIVE: "live",
    pb.SESSION_STATE_PARKED: "parked",
    pb.SESSION_STATE_RECORDING: "recording",
}

AdminOption = Annotated[
    str,
    typer.Option(
        "--admin",
        envvar="SIREN_ADMIN",
        metavar="HOST:PORT",
        help="The server's admin port: `siren serve --admin-port 50052`.",
    ),
]
WatchOption = Annotated[
    float,
    typer.Option(
        "--watch",
        min=0.0,
        metavar="SECONDS",
        help="Show it anew so often, until Ctrl-C; 0 for once.",
    ),
]
_DEFAULT = "127.0.0.1:50052"

app = typer.Typer(
    no_args_is_help=True,
    help="Look into a running server: its sessions, how busy it is.\n\n"
    "The server answers on a port of its own, which is off unless it is started with "
    "`--admin-port`.",
)


@app.command()
def sessions(
    admin: AdminOption = _DEFAULT, watch: WatchOption = 0.0, as_json: JsonOption = False
) -> None:
    """List the streams and recordings that run, the oldest first.

    **Examples**

    - `siren admin sessions`
    - `siren admin sessions --watch 1`: a live table
    - `siren admin sessions --json | jq '.sessions[] | select(.state == "SESSION_STATE_PARKED")'`
    """
    with _service(admin) as service:
        _show(
            lambda: service.ListSessions(pb.ListSessionsRequest(), timeout=_ANSWER_S),
            render_sessions,
            watch_s=watch,
            as_json=as_json,
        )


@app.command()
def status(
    admin: AdminOption = _DEFAULT, watch: WatchOption = 0.0, as_json: JsonOption = False
) -> None:
    """Tell how the server is: models, sessions, utilisation, memory.

    **Examples**

    - `siren admin status`
    - `siren admin status --json | jq .utilization`
    """
    with _service(admin) as service:
        _show(
            lambda: service.GetServerStatus(pb.GetServerStatusRequest(), timeout=_ANSWER_S),
            render_status,
            watch_s=watch,
            as_json=as_json,
        )


@app.command()
def end(
    session: Annotated[
        str, typer.Argument(help="Its id in full, as `siren admin sessions --json` has it.")
    ],
    admin: AdminOption = _DEFAULT,
) -> None:
    """End a session: it gets the final for what was heard, then SHUTTING_DOWN.

    A client that reconnects by itself, as the Python clients do, opens another.

    **Example**: `siren admin end 0123456789abcdef0123456789abcdef`
    """
    with _service(admin) as service:
        answer = service.EndSession(pb.EndSessionRequest(session_id=session), timeout=_ANSWER_S)
    if not answer.was_found:
        fail(
            f"no session {session} on this server",
            "It may have ended. `siren admin sessions --json` has the ids in full.",
            code=FAILED,
        )
    print("ended")


def render_sessions(response: pb.ListSessionsResponse, *, width: int) -> RenderableType:
    """Draw the table of sessions, for lines of so many characters."""
    columns = (
        "session", "request", "state", "model", "lane", "since", "received", "processed", "lag",
        "peer", "front end",
    )  # fmt: skip
    rows = [
        (
            session.session_id[:_SHOWN_ID],
            session.request_id,
            _STATES.get(session.state, "?"),
            session.model,
            f"{session.chunk_frames} {session.decoder}",
            session.started_at.ToDatetime().strftime("%H:%M:%S"),
            _seconds(session.audio_received),
            _seconds(session.audio_processed),
            _seconds(session.lag),
            session.principal or session.peer,
            session.front_end,
        )
        for session in response.sessions
    ]
    table, left_out = fitting_table(
        columns,
        rows,
        width=width,
        spare=("front end", "request", "model", "processed", "peer", "lane", "since"),
    )
    silent = ", ".join(response.silent_front_ends)
    notes = [f"no answer from {silent}: its sessions are missing"] if silent else []
    if left_out:
        notes.append(f"left out here: {', '.join(left_out)}; --json has everything")
    return Group(table, f"{len(response.sessions)} session(s); times are UTC", *notes)


def render_status(response: pb.GetServerStatusResponse, *, width: int) -> RenderableType:
    """Draw what a server says of itself, for lines of so many characters."""
    facts = Table.grid(padding=(0, 2))
    state = pb.ServerState.Name(response.state).removeprefix("SERVER_STATE_").lower()
    facts.add_row("server", f"siren {response.version}, {state}, up {_seconds(response.uptime)}")
    facts.add_row(
        "sessions",
        f"{response.active_sessions} of {response.session_capacity}, "
        f"{response.parked_streams} parked",
    )
    facts.add_row(
        "utilisation",
        f"{response.utilization:.0%} (steps {response.step_utilization:.0%}, "
        f"processor {response.cpu_utilization:.0%})",
    )
    facts.add_row(
        "memory", f"{response.resident_bytes / 2**20:.0f} MiB, {response.front_ends} front end(s)"
    )
    for device in response.devices:
        used, total = device.used_bytes / 2**30, device.total_bytes / 2**30
        busy = f", {device.utilization:.0%} busy" if device.HasField("utilization") else ""
        facts.add_row(device.device, f"{device.name}: {used:.1f} of {total:.1f} GiB{busy}")
    models = [
        (
            model.model,
            ", ".join(model.language_codes),
            f"{model.active_sessions} of {model.session_capacity}",
        )
        for model in response.models
    ]
    columns = ("model", "languages", "sessions")
    return Group(facts, fitting_table(columns, models, width=width, spare=("languages",))[0])


def _seconds(duration: Any) -> str:
    return f"{duration.ToMilliseconds() / 1000:.1f} s"


def _show(
    ask: Callable[[], Any],
    render: Callable[..., RenderableType],
    *,
    watch_s: float,
    as_json: bool,
) -> None:
    console = tables_console()

    def show() -> None:
        answer = ask()
        if as_json:
            print(MessageToJson(answer, always_print_fields_with_no_presence=True), flush=True)
        else:
            console.print(render(answer, width=console.width))

    with quiet_on_broken_pipe():
        if not watch_s:
            show()
            return
        try:
            if as_json or not sys.stdout.isatty():  # a pipe gets one answer behind the other
                while True:
                    show()
                    time.sleep(watch_s)
            with Live(render(ask(), width=console.width), console=console, screen=True) as live:
                while True:
                    time.sleep(watch_s)
                    live.update(render(ask(), width=console.width))
        except KeyboardInterrupt:
            return


@contextmanager
def _service(address: str) -> Iterator[admin_pb2_grpc.AdminServiceStub]:
    try:
        with siren_errors(), grpc.insecure_channel(address) as channel:
            yield admin_pb2_grpc.AdminServiceStub(channel)
    except SirenError as error:
        fail(str(error), *_next_step(error, address), code=FAILED)


def _next_step(error: SirenError, address: str) -> list[str]:
    match error.status:
        case grpc.StatusCode.UNAVAILABLE:
            return [
                f"No admin service answers at {address}. It is off unless the server is started "
                "with --admin-port; --admin names where it is."
            ]
        case grpc.StatusCode.UNIMPLEMENTED:
            return [
                f"{address} is no admin port: that is the --admin-port of `siren serve`, not its "
                "main one."
            ]
    return []
