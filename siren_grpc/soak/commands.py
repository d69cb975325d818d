"""The command line of the endurance runs: `siren soak churn` and `siren soak stream`."""

from __future__ import annotations

import typer

from siren_grpc.soak import churn_command

app = typer.Typer(no_args_is_help=True)


@app.callback(
    help="Prove that the server loses nothing over time: a million sessions, a day in one stream."
)
def prepare() -> None:
    """Keep the commands below a name of their own."""


app.command("churn", help=churn_command.HELP)(churn_command.churn)
