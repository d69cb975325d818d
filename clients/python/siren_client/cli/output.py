"""The forms in which results are given: text, JSON lines, subtitles."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import IO

from siren_client.cli.lines import to_json_line, to_plain_line
from siren_client.subtitles import to_cues, to_srt, to_vtt
from siren_client.types import Final, Partial, Result


class Format(str, Enum):
    """A form of results."""

    TEXT = "text"
    """The text of each utterance on a line of its own."""
    JSON = "json"
    """Every result as a JSON object on a line of its own."""
    SRT = "srt"
    """SubRip subtitles."""
    VTT = "vtt"
    """WebVTT subtitles."""

    @property
    def is_subtitles(self) -> bool:
        """Whether it is written when everything is known, not line by line."""
        return self in (Format.SRT, Format.VTT)

    @property
    def suffix(self) -> str:
        """What the name of a file in this form ends with."""
        return {Format.TEXT: ".txt", Format.JSON: ".jsonl"}.get(self, f".{self.value}")


def to_line(
    result: Result,
    output_format: Format,
    *,
    file: str | None,
    partials: bool,
    channels: bool = False,
) -> str | None:
    """Write a result as a line of text or JSON; None for one that is not shown. Pure.

    Args:
        result: What to write.
        output_format: TEXT or JSON.
        file: The recording it belongs to, for JSON; None if there is none.
        partials: Whether partials are shown.
        channels: Whether each line of text begins with its channel; JSON tells it anyway.
    """
    if output_format is Format.TEXT:
        return to_plain_line(result, partials=partials, channels=channels)
    if isinstance(result, Partial) and not partials:
        return None
    return to_json_line(result, file=file)


def render(
    results: Iterable[Result],
    output_format: Format,
    *,
    file: str | None,
    partials: bool,
    channels: bool = False,
) -> str:
    """Write the results of one recording as the content of a file, as `to_line` does. Pure.

    Raises:
        SubtitlesError: What subtitles need is not installed.
    """
    if output_format.is_subtitles:
        cues = to_cues(result for result in results if isinstance(result, Final))
        return to_srt(cues) if output_format is Format.SRT else to_vtt(cues)
    lines = (
        to_line(result, output_format, file=file, partials=partials, channels=channels)
        for result in results
    )
    return "".join(f"{line}\n" for line in lines if line is not None)


def write_whole(path: Path, content: str) -> None:
    """Write a file that is there whole or not at all; make its folders.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(content, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class OutputFile:
    """Results of one stream in a file that is up to date after every final."""

    def __init__(self, path: Path, output_format: Format, *, partials: bool) -> None:
        """Begin the file.

        Raises:
            OSError: It cannot be written.
        """
        self._path = path
        self._format = output_format
        self._partials = partials
        self._finals: list[Final] = []
        self._lines: IO[str] | None = None
        if not output_format.is_subtitles:
            self._lines = path.open("w", encoding="utf-8")
        else:
            self._write_subtitles()

    def add(self, result: Result) -> None:
        """Write a result."""
        if self._lines is not None:
            line = to_line(result, self._format, file=None, partials=self._partials)
            if line is not None:
                print(line, file=self._lines, flush=True)
        elif isinstance(result, Final):
            self._finals.append(result)
            self._write_subtitles()

    def close(self) -> None:
        """Close the file."""
        if self._lines is not None:
            self._lines.close()

    def _write_subtitles(self) -> None:
        finals: Sequence[Final] = self._finals
        write_whole(self._path, render(finals, self._format, file=None, partials=False))
