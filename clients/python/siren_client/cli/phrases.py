"""`--phrase` and `--phrases-file`: what a stream is likely to hear."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from siren_client.cli.options import USAGE_ERROR, fail
from siren_client.types import PhraseOption

_WITH_BOOST = re.compile(r"^(?P<text>.+):(?P<boost>\d+(\.\d+)?)$")

PhraseFlag = Annotated[
    list[str] | None,
    typer.Option(
        "--phrase",
        metavar="TEXT[:BOOST]",
        help="A phrase to be preferred where it might have been said, spelled as the model would "
        "write it. BOOST is above 0 and at most 10 (3 if left out). May be repeated.",
        show_default=False,
    ),
]
PhrasesFileFlag = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE",
        help="More phrases, one TEXT[:BOOST] a line; empty lines and those with # first are "
        "left out.",
        show_default=False,
    ),
]


def phrases_of(flags: Iterable[str] | None, file: Path | None) -> list[PhraseOption]:
    """Return the phrases of both options, those of the command line first."""
    lines = list(flags or ())
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError:
            fail(f"{file} is not text in UTF-8", code=USAGE_ERROR)
        stripped = (line.strip() for line in text.splitlines())
        lines += [line for line in stripped if line and not line.startswith("#")]
    return [_parse(line) for line in lines]


def _parse(line: str) -> PhraseOption:
    """Split off the boost; a colon with anything but a number behind it belongs to the text."""
    match = _WITH_BOOST.match(line)
    return line if match is None else (match["text"].strip(), float(match["boost"]))
