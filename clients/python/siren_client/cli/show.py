"""One stream's results as they come, on a terminal or in lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from siren_client.cli.channels import with_channel
from siren_client.cli.live import LiveView, render_legend
from siren_client.cli.options import errors_console
from siren_client.cli.output import Format, render, to_line
from siren_client.types import Final, Result

Show = Callable[[Result], None]


@contextmanager
def shown(
    output_format: Format,
    *,
    file: str | None,
    duration_s: float | None,
    partials: bool,
    channels: bool = False,
) -> Iterator[Show]:
    """Give what shows a result on stdout.

    Text on a terminal is the live view. Elsewhere it is lines, JSON with partials always;
    subtitles are printed at the end, of a stream that fails those of what was heard.

    Args:
        output_format: The form.
        file: The recording, for JSON; None for a microphone.
        duration_s: Its length in seconds; None if nobody knows.
        partials: Whether lines of text show partials.
        channels: Whether text tells its channel.
    """
    # Not console.is_terminal: FORCE_COLOR makes that true of a pipe, and is about colours only.
    if output_format is Format.TEXT and sys.stdout.isatty():
        console = Console(highlight=False)
        console.print(render_legend())
        with LiveView(console, duration_s=duration_s) as view:
            yield lambda result: view.show(with_channel(result) if channels else result)
    elif output_format.is_subtitles:
        finals: list[Result] = []

        def keep(result: Result) -> None:
            if isinstance(result, Final):
                finals.append(result)

        try:
            yield keep
        except BaseException:
            if finals:
                _print_subtitles(finals, output_format)
            raise
        _print_subtitles(finals, output_format)
        if not any(isinstance(final, Final) and final.text for final in finals):
            _note_silence()
    else:
        is_json = output_format is Format.JSON
        is_silent = True

        def print_line(result: Result) -> None:
            nonlocal is_silent
            if isinstance(result, Final) and result.text:
                is_silent = False
            line = to_line(
                result,
                output_format,
                file=file,
                partials=partials or is_json,
                channels=channels,
            )
            if line is not None:
                print(line, flush=True)

        yield print_line
        if is_silent and not is_json:
            _note_silence()


def _print_subtitles(finals: list[Result], output_format: Format) -> None:
    print(render(finals, output_format, file=None, partials=False), end="", flush=True)


def _note_silence() -> None:
    """Say that nothing was said, for no output at all might be a fault."""
    errors_console().print("note: no speech was recognised", style="dim", markup=False)
