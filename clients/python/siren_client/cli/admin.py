"""`siren admin`: what a server is doing, for its operator."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import grpc
import typer
from google.protobuf.json_format import MessageToJson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from siren.v1 import admin_pb2 as pb
from siren.v1 import admin_pb2_grpc

from siren_client.cli.options import FAILED, JsonOption, fail, reported_errors
from siren_client.errors import siren_errors

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
        str, typer.Argument(help="Its id, as `siren admin sessions --json` has it.")
    ],
    admin: AdminOption = _DEFAULT,
) -> None:
    """End a session: it gets the final for what was heard, then SHUTTING_DOWN.

    **Example**: `siren admin end 0123456789abcdef0123456789abcdef`
    """
    with _service(admin) as service:
        answer = service.EndSession(pb.EndSessionRequest(session_id=session), timeout=_ANSWER_S)
    if not answer.was_found:
        fail(f"no session {session} on this server", code=FAILED)
    print("ended")


def render_sessions(response: pb.ListSessionsResponse) -> RenderableType:
    """Draw the table of sessions."""
    table = Table(
        "session", "request", "state", "model", "lane", "since", "received", "processed", "lag",
        "peer", "front end",
    )  # fmt: skip
    for session in response.sessions:
        table.add_row(
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
    silent = ", ".join(response.silent_front_ends)
    notes = [f"no answer from {silent}: its sessions are missing"] if silent else []
    return Group(table, f"{len(response.sessions)} session(s); times are UTC", *notes)


def render_status(response: pb.GetServerStatusResponse) -> RenderableType:
    """Draw what a server says of itself."""
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
    models = Table("model", "languages", "sessions")
    for model in response.models:
        models.add_row(
            model.model,
            ", ".join(model.language_codes),
            f"{model.active_sessions} of {model.session_capacity}",
        )
    return Group(facts, models)


def _seconds(duration: Any) -> str:
    return f"{duration.ToMilliseconds() / 1000:.1f} s"


def _show(
    ask: Callable[[], Any],
    render: Callable[[Any], RenderableType],
    *,
    watch_s: float,
    as_json: bool,
) -> None:
    if as_json:
        print(MessageToJson(ask(), always_print_fields_with_no_presence=True))
        return
    console = Console(highlight=False)
    if not watch_s:
        console.print(render(ask()))
        return
    with Live(render(ask()), console=console, screen=console.is_terminal) as live:
        try:
            while True:
                time.sleep(watch_s)
                live.update(render(ask()))
        except KeyboardInterrupt:
            return


@contextmanager
def _service(address: str) -> Iterator[admin_pb2_grpc.AdminServiceStub]:
    with (
        reported_errors(f"{address}; is it started with --admin-port?"),
        siren_errors(),
        grpc.insecure_channel(address) as channel,
    ):
        yield admin_pb2_grpc.AdminServiceStub(channel)
