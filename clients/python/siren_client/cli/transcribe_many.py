"""Many recordings at once, for `siren transcribe`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import typer

from siren_client.cli.audio_file import AudioFile, AudioFileError, probe, read_messages
from siren_client.cli.batch import Batch, Delivered, Finished, Waiting
from siren_client.cli.channels import Channels
from siren_client.cli.flags import ConnectionFlags
from siren_client.cli.inputs import readable
from siren_client.cli.lines import to_json_error_line
from siren_client.cli.options import FAILED, INTERRUPTED, errors_console, report
from siren_client.cli.output import Format, render, to_line, write_whole
from siren_client.cli.progress import ProgressBar, Tally, summarize
from siren_client.cli.stopping import interrupt_calls
from siren_client.errors import SirenError
from siren_client.types import Partial, RecognitionOptions, Result


def transcribe_many(
    paths: Sequence[Path],
    connection: ConnectionFlags,
    options: RecognitionOptions,
    output_format: Format,
    *,
    outputs: Sequence[Path] | None,
    parallel: int,
    message_ms: int,
    partials: bool,
    channels: Channels,
) -> None:
    """Recognise recordings and say at the end which failed.

    Args:
        paths: The recordings.
        connection: The server.
        options: How to recognise them.
        output_format: The form of the results.
        outputs: Where each result is written; None for stdout: text in the order of the
            recordings, JSON as it comes.
        parallel: How many are sent at a time.
        message_ms: Audio in each message.
        partials: Whether partials are given too.
        channels: What is recognised of several.

    Raises:
        typer.Exit: Some failed, or Ctrl-C was pressed.
    """
    recordings: list[AudioFile] = []
    results: list[_Results] = []
    failures: list[str] = []
    for number, path in enumerate(paths):
        try:
            recordings.append(probe(path, channels))
        except AudioFileError as error:
            failures.append(str(error))
            if outputs is None and output_format is Format.JSON:
                print(to_json_error_line(error, file=readable(path)), flush=True)
            continue
        output = None if outputs is None else outputs[number]
        results.append(
            _Results(path, output, output_format, partials=partials, channels=channels.are_named)
        )
    tally = Tally([recording.duration_s or 0.0 for recording in recordings], clock=time.monotonic)
    shared_error: SirenError | None = None
    has_waited = False
    with connection.make_client() as client:
        batch = Batch(
            client,
            recordings,
            lambda recording: read_messages(recording, message_ms=message_ms),
            options,
            parallel=parallel,
        )
        with (
            interrupt_calls(batch.stop) as interrupt,
            ProgressBar(errors_console(), tally) as bar,
            closing(batch.updates()) as updates,
        ):
            try:
                for update in updates:
                    match update:
                        case Delivered(index, result):
                            tally.add(index, result)
                            results[index].add(result)
                        case Finished(index, cause):
                            failure = results[index].finish(cause)
                            if isinstance(cause, SirenError) and batch.is_given_up:
                                shared_error = shared_error or cause
                            else:
                                tally.finish(index, failed=failure is not None)
                                if failure is not None:
                                    failures.append(failure)
                            _print_in_order(results)
                        case Waiting() if not has_waited:
                            has_waited = True
                            _note_waiting()
                    bar.update()
            finally:
                # One that was cut off, by Ctrl-C say, does not keep back those behind it.
                _print_in_order([result for result in results if result.is_over])
    console = errors_console()
    console.print(summarize(tally, n_files=len(paths), n_failed=len(failures)), markup=False)
    for failure in failures:
        console.print("failed: ", style="bold red", end="")
        console.print(failure, markup=False)
    if (n_left := len(recordings) - tally.n_over) > 0:
        console.print(f"not recognised to the end, or not at all: {n_left}", style="yellow")
    if shared_error is not None:
        report(shared_error, connection.server)
    if interrupt.is_set:
        raise typer.Exit(INTERRUPTED)
    if failures or shared_error is not None:
        raise typer.Exit(FAILED)


class _Results:
    """What came of one recording, and where it goes."""

    def __init__(
        self,
        path: Path,
        output: Path | None,
        output_format: Format,
        *,
        partials: bool,
        channels: bool,
    ) -> None:
        self.is_over = False
        self.is_printed = False
        self._path = path
        self._name = readable(path)
        self._output = output
        self._format = output_format
        self._partials = partials
        self._channels = channels
        self._kept: list[Result] = []

    @property
    def is_live(self) -> bool:
        """Whether results are printed as they come."""
        return self._output is None and self._format is Format.JSON

    def add(self, result: Result) -> None:
        """Take a result."""
        if self.is_live:
            print(to_line(result, self._format, file=self._name, partials=True), flush=True)
        elif self._partials or not isinstance(result, Partial):
            self._kept.append(result)

    def finish(self, error: SirenError | AudioFileError | None) -> str | None:
        """Write what is to be written; say what failed, if anything did."""
        self.is_over = True
        if error is not None:
            if self.is_live:
                print(to_json_error_line(error, file=self._name), flush=True)
            return str(error) if isinstance(error, AudioFileError) else f"{self._path}: {error}"
        if self._output is None:
            return None
        try:
            write_whole(self._output, self._render())
        except OSError as cannot_write:
            return f"{self._path}: its result cannot be written: {cannot_write}"
        finally:
            self._kept.clear()
        return None

    def print(self) -> None:
        """Print what is kept for stdout."""
        self.is_printed = True
        if self._output is None and self._kept:
            print(f"==> {self._name} <==\n{self._render()}", end="", flush=True)
        self._kept.clear()

    def _render(self) -> str:
        return render(
            self._kept,
            self._format,
            file=self._name,
            partials=self._partials,
            channels=self._channels,
        )


def _print_in_order(results: Sequence[_Results]) -> None:
    for result in results:
        if not result.is_over:
            return
        if not result.is_printed:
            result.print()


def _note_waiting() -> None:
    errors_console().print(
        "note: every session of the server is taken: recordings wait their turn, until Ctrl-C",
        style="dim",
        markup=False,
    )
