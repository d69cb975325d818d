"""The `siren` application: this distribution's commands and those of others.

An installed distribution adds commands through the entry point group
`siren.commands`; each entry point is a function `register(app: typer.Typer) -> None`,
called on every run of `siren`, so it should import what is heavy in its commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

from siren_client.cli.admin import app as admin
from siren_client.cli.health import health
from siren_client.cli.listen import listen
from siren_client.cli.models import models
from siren_client.cli.options import errors_console
from siren_client.cli.transcribe import transcribe

COMMANDS_GROUP = "siren.commands"

_HELP = """\
Streaming speech recognition over gRPC.

Start a server with `siren serve` (it comes with the package `siren-grpc`), then watch a
recording become text, or what you say:

    siren transcribe talk.wav
    siren listen

Every command has its own `--help`.
"""


def build_app(plugins: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """Put the application together.

    Args:
        plugins: Entry points of further commands; None for those installed.
    """
    app = typer.Typer(
        name="siren",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command()(transcribe)
    app.command()(listen)
    app.command()(models)
    app.command()(health)
    app.add_typer(admin, name="admin")
    for plugin in entry_points(group=COMMANDS_GROUP) if plugins is None else plugins:
        _register(app, plugin)
    return app


def _register(app: typer.Typer, plugin: EntryPoint) -> None:
    try:
        plugin.load()(app)
    except Exception as error:
        # Another package's trouble must not take this one's commands away.
        errors_console().print(
            f"siren: the commands of {plugin.value} are not available: "
            f"{type(error).__name__}: {error}",
            style="yellow",
            markup=False,
        )


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"siren {version('siren-grpc-client')}")
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version of the client and exit.",
        ),
    ] = False,
) -> None:
    pass
