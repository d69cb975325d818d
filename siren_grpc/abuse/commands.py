"""The command line of the abuse: `siren abuse requests`, `connections` and `overload`."""

from __future__ import annotations

import typer

from siren_grpc.abuse import connections_command, overload_command, requests_command
from siren_grpc.bench.console import exit_on_sigterm

app = typer.Typer(no_args_is_help=True)


@app.callback(
    help="Attack a server, and check that it answers every attack as it promises. Of servers of "
    "your own only. Each command exits with status 1 when the server did not hold."
)
def prepare() -> None:
    """Settle what must be settled before a server is started."""
    exit_on_sigterm()


app.command("requests", help=requests_command.HELP)(requests_command.requests)
app.command("connections", help=connections_command.HELP)(connections_command.connections)
app.command("overload", help=overload_command.HELP)(overload_command.overload)
