"""The command line of the endurance runs: `siren soak churn` and `siren soak stream`."""

from __future__ import annotations

import typer

from siren_grpc.bench.console import exit_on_sigterm
from siren_grpc.soak import churn_command, stream_command

app = typer.Typer(no_args_is_help=True)


@app.callback(
    help="Prove that nothing is lost or left over in time: a million sessions, a day in one stream."
)
def prepare() -> None:
    """Settle what must be settled before a server is started."""
    exit_on_sigterm()


app.command("churn", help=churn_command.HELP)(churn_command.churn)
app.command("stream", help=stream_command.HELP)(stream_command.stream)
