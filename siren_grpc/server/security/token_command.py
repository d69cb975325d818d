"""`siren token`: make tokens for a server's token file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from siren_grpc.domain.principal import Quota
from siren_grpc.server.security.tokens import new_token, parse_expiry, read_lines, to_line

app = typer.Typer(no_args_is_help=True, help="Make tokens for a server's token file.")
_OWNER_ONLY = 0o600


@app.callback()
def _root() -> None:
    """Make tokens for a server's token file."""


@app.command()
def new(
    name: Annotated[str, typer.Option(help="Whose it is: shown in logs. May have several tokens.")],
    file: Annotated[
        Path | None,
        typer.Option(
            help="Token file to append its line to; made if it is not there. Left out, the line is "
            "printed too.",
            dir_okay=False,
        ),
    ] = None,
    sessions: Annotated[int | None, typer.Option(min=0, help="Sessions at once.")] = None,
    audio_seconds_per_hour: Annotated[
        float | None, typer.Option(min=0, help="Seconds of audio in any hour.")
    ] = None,
    audio_seconds_per_day: Annotated[
        float | None, typer.Option(min=0, help="Seconds of audio in any day.")
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Such as 2027-01-31 or 2027-01-31T12:00:00Z."),
    ] = None,
) -> None:
    """Print a new token, this once, and write the line by which a server knows it.

    A running server reads its file again by itself. Example:

      siren token new --name phone --sessions 4 --file tokens.txt
    """
    try:
        expires_at = None if expires is None else parse_expiry(expires)
        if expires_at is not None and expires_at <= time.time():
            raise ValueError(f"expires {expires} has passed")
        quota = Quota(sessions, audio_seconds_per_hour, audio_seconds_per_day)
        token, record = new_token(name, quota, expires_at)
        line = to_line(record)
        if file is not None:
            _append(file, line)
    except OSError as error:
        said = f"{file} cannot be written: {error.strerror}"
        Console(stderr=True).print(said, style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    except ValueError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    print(token)
    if file is None:
        print(line)
        note = "The first line is the token, for the client; the second is for the tokens_file."
        Console(stderr=True).print(note, style="dim", soft_wrap=True)


def _append(file: Path, line: str) -> None:
    """Add a line to a file of tokens. Raises ValueError when it is none."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    try:
        read_lines(before)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    separator = "" if not before or before.endswith("\n") else "\n"
    # In one write: a server may be reading it.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(f"{separator}{line}\n")
