"""`siren pull`."""

from __future__ import annotations

from typing import Annotated

import typer

from siren_grpc.bench.console import console, fail
from siren_grpc.observe.logging import configure_logging, take_in_nemo

HELP = """Fetch a model's checkpoint ahead of time, for images and quick cold starts.

A hub name is downloaded into the hub's cache (HF_HOME says where); a .nemo path is only checked.

Example: siren pull nvidia/nemotron-speech-streaming-en-0.6b
"""


def pull(
    model: Annotated[str, typer.Argument(help="Hub name, .nemo path, or siren-mini-en.")],
) -> None:
    """Fetch a model's checkpoint ahead of time, for images and quick cold starts."""
    configure_logging("warning")
    from siren_grpc.models.pull import pull as fetch

    take_in_nemo("warning")
    try:
        path = fetch(model)
    except Exception as error:
        raise fail(f"cannot fetch {model!r}: {error}") from None
    console.print(f"[green]ready:[/green] {model} ({path})")
