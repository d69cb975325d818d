"""The server's commands of `siren`: `serve`, `pull`, `token`, `size`, `bench`, `soak` and `abuse`.

Added to the client's command line by the entry point `siren.commands`. Torch and NeMo are
imported by the commands that need them, so that `siren --help` stays quick.
"""

from __future__ import annotations

import typer

from siren_grpc.abuse.commands import app as abuse_app
from siren_grpc.bench import size_command
from siren_grpc.bench.commands import app as bench_app
from siren_grpc.cli import pull_command, serve_command
from siren_grpc.cli.setting_flags import with_setting_flags
from siren_grpc.server.security.token_command import app as token_app
from siren_grpc.soak.commands import app as soak_app


def register(app: typer.Typer) -> None:
    """Add the server's commands to the `siren` command line."""
    app.command("serve", help=serve_command.HELP)(with_setting_flags(serve_command.serve))
    app.command("pull", help=pull_command.HELP)(pull_command.pull)
    app.add_typer(bench_app, name="bench")
    app.add_typer(token_app, name="token")
    app.add_typer(abuse_app, name="abuse")
    app.add_typer(soak_app, name="soak")
    app.command("size", help=size_command.HELP)(size_command.size_deployment)
