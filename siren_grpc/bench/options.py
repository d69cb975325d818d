"""Options that commands of `siren bench`, `soak` and `abuse` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[str, typer.Option(help="Hub name, .nemo path, or siren-mini-en.")]
ChunkFrames = Annotated[int, typer.Option(help="Look-ahead, in encoder frames of 80 ms.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
Threads = Annotated[int, typer.Option(min=0, help="CPU threads of a step; 0: one per core.")]
PrecisionName = Annotated[
    str,
    typer.Option(help="fp32, bf16, fp16 or int8: of Siren's products; the others' are fp32."),
]
ServedDecoder = Annotated[
    str | None, typer.Option("--decoder", help="rnnt or ctc. Default: the server's.")
]
Audio = Annotated[
    list[Path] | None,
    typer.Option(help="WAV file to play, mono 16-bit; repeatable. Default: the demo recording."),
]
Json = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="File to keep the results in.")
]
Seed = Annotated[int, typer.Option(help="Of the random offsets, pauses and jitter.")]
ServeFlags = Annotated[
    list[str] | None,
    typer.Argument(metavar="[-- FLAGS]", help="Flags of `siren serve`, behind a --."),
]


def numbers(text: str) -> list[int]:
    """Read `1,4,16`. Raises typer.BadParameter."""
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or min(values) < 1:
        raise typer.BadParameter(f"{text!r} is no list of positive numbers such as 1,4,16")
    return values
