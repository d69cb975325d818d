"""What the commands share: how to reach the server, and how to fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from siren_client.blocking import SirenClient
from siren_client.cli.next_step import next_step
from siren_client.cli.output import Format, render
from siren_client.connection import DEFAULT_TARGET
from siren_client.errors import SirenError
from siren_client.subtitles import SubtitlesError
from siren_client.tls import Tls
from siren_client.token import Token, check_plaintext

FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130

ServerOption = Annotated[
    str,
    typer.Option(
        "--server", envvar="SIREN_SERVER", metavar="HOST:PORT", help="Address of the server."
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="SIREN_TOKEN",
        metavar="TOKEN",
        show_envvar=True,
        help="The server's token; in the environment or a file others do not see it.",
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="SIREN_TOKEN_FILE",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="A file with the token, read again for every call.",
    ),
]
PlaintextTokenOption = Annotated[
    bool,
    typer.Option(
        "--plaintext-token",
        envvar="SIREN_PLAINTEXT_TOKEN",
        help="Send the token without TLS to another machine, too.",
    ),
]
TlsOption = Annotated[bool, typer.Option("--tls", help="Connect with TLS.")]
CaFileOption = Annotated[
    Path | None,
    typer.Option(
        "--ca-file",
        "--ca",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Trust the certificate authorities in this PEM file; implies --tls.",
    ),
]
ClientCertOption = Annotated[
    Path | None,
    typer.Option(
        "--client-cert",
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="Certificate (PEM) to show a server that asks for one; implies --tls.",
    ),
]
ClientKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--client-key", exists=True, dir_okay=False, metavar="FILE", help="Its key (PEM)."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format",
        help="Form of the results: text, JSON lines, SubRip or WebVTT subtitles; text when "
        "left out.",
        show_default=False,
    ),
]
JsonLinesOption = Annotated[
    bool,
    typer.Option("--json", help="Every result as a JSON object on its own line: --format json."),
]
MessageMsOption = Annotated[
    int, typer.Option(min=1, max=10_000, help="Audio in each message, in milliseconds.")
]
PartialsOption = Annotated[
    bool,
    typer.Option(
        "--partials",
        help="Without a terminal: print partials too, the stable part in brackets.",
    ),
]

DEFAULT_SERVER = DEFAULT_TARGET


def make_client(
    server: str,
    *,
    token: Token | None,
    plaintext_token: bool,
    tls: Tls | None,
    timeout_s: float = 10.0,
) -> SirenClient:
    """Make a client from the options; exit if the token must not go that way."""
    if token is not None and tls is None:
        try:
            check_plaintext(server, is_allowed=plaintext_token)
        except ValueError:
            fail(
                f"the token would travel to {server} in plain text, for anybody on the way to read",
                "Connect with --tls, or say --plaintext-token if something else encrypts the way.",
                code=USAGE_ERROR,
            )
    return SirenClient(
        server,
        credentials=tls,
        token=token,
        plaintext_token=plaintext_token,
        timeout_s=timeout_s,
        # A command is run again by its user; one that waits tries often.
        options=[
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ],
    )


def choose_format(output_format: Format | None, *, as_json: bool) -> Format:
    """Make one of --format and --json; exit if they differ, or what it needs is missing."""
    if as_json and output_format not in (None, Format.JSON):
        fail("--json and --format ask for two forms", code=USAGE_ERROR)
    chosen = Format.JSON if as_json else output_format or Format.TEXT
    try:
        render((), chosen, file=None, partials=False)
    except SubtitlesError as error:
        fail(str(error), code=FAILED)
    return chosen


def errors_console() -> Console:
    """Make the console of notes and errors, stderr as it is at this moment."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str, *hints: str, code: int) -> NoReturn:
    """Say what is wrong and what to do next, and exit."""
    _print_error(message, *hints)
    raise typer.Exit(code)


def report(error: SirenError, server: str) -> None:
    """Say what a server's error is, and what to do next."""
    violations = [f"{violation.field}: {violation.description}" for violation in error.violations]
    unsaid = [f"  {violation}" for violation in violations if violation not in error.message]
    _print_error(str(error), *unsaid, *next_step(error, server))


@contextmanager
def reported_errors(server: str) -> Iterator[None]:
    """Exit with the message and the next step for a `SirenError` in the body."""
    try:
        yield
    except SirenError as error:
        report(error, server)
        raise typer.Exit(FAILED) from None


def _print_error(message: str, *hints: str) -> None:
    console = errors_console()
    console.print("error: ", style="bold red", end="")
    console.print(message, markup=False)
    for hint in hints:
        console.print(hint, markup=False)
