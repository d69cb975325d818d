"""The command line of the benchmarks: `siren bench engine`, `server` and `long`."""

from __future__ import annotations

import typer

from siren_grpc.bench import engine_command, long_command, server_command
from siren_grpc.bench.console import exit_on_sigterm
from siren_grpc.runtime import share_the_cores

app = typer.Typer(no_args_is_help=True)


@app.callback(
    help="Measure this server on this machine. Every command ends with a table; --json keeps it."
)
def prepare() -> None:
    """Settle what must be settled before torch is imported, and before a server is started."""
    exit_on_sigterm()
    share_the_cores()


app.command("engine", help=engine_command.HELP)(engine_command.engine)
app.command("server", help=server_command.HELP)(server_command.server)
app.command("long", help=long_command.HELP)(long_command.long)
