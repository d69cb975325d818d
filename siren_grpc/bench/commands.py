"""The command line of the benchmarks: `siren bench engine`, `server` and `long`."""

from __future__ import annotations

import typer

from siren_grpc.bench.engine_command import engine
from siren_grpc.bench.long_command import long
from siren_grpc.bench.server_command import server

app = typer.Typer(
    help="Measure this server on this machine. Every command ends with a table; --json keeps it.",
    no_args_is_help=True,
)
app.command()(engine)
app.command()(server)
app.command()(long)
