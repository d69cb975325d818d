"""Options that the commands of `siren soak` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

JournalFile = Annotated[
    Path | None,
    typer.Option("--journal", dir_okay=False, help="File for what is found, a JSON line an audit."),
]
