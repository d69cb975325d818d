"""The command line of the benchmarks: `siren bench engine`, `server` and `long`."""

from __future__ import annotations

import typer

from siren_grpc.bench import engine_command, long_command, server_command

app = typer.Typer(
    help="Measure this server on this machine. Every command ends with a table; --json keeps it.",
    no_args_is_help=True,
)
app.command("engine", help=engine_command.HELP)(engine_command.engine)
app.command("server", help=server_command.HELP)(server_command.server)
app.command("long", help=long_command.HELP)(long_command.long)
