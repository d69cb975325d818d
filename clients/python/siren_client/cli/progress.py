"""The progress of many recordings, and what came of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from siren_client.types import Final, Partial, Result

if TYPE_CHECKING:
    from typing_extensions import Self


class Tally:
    """How much audio is done, by what the results account for, and how fast.

    Args:
        durations_s: Length of each recording, in seconds.
        clock: Seconds of a clock that never goes back; the time counts from now.
    """

    def __init__(self, durations_s: Sequence[float], *, clock: Callable[[], float]) -> None:
        self._durations_s = list(durations_s)
        self._done_s = [0.0] * len(durations_s)
        self._clock = clock
        self._start_s = clock()
        self.n_over = 0
        """Recordings recognised or failed."""

    @property
    def n_recordings(self) -> int:
        """How many there are."""
        return len(self._durations_s)

    @property
    def total_s(self) -> float:
        """Audio in all recordings, in seconds."""
        return sum(self._durations_s)

    @property
    def done_s(self) -> float:
        """Audio accounted for, in seconds."""
        return sum(self._done_s)

    @property
    def elapsed_s(self) -> float:
        """Time since the beginning, in seconds."""
        return self._clock() - self._start_s

    @property
    def speed(self) -> float:
        """Seconds of audio done in a second: 1 is real time."""
        return self.done_s / max(self.elapsed_s, 1e-9)

    def add(self, index: int, result: Result) -> None:
        """Count a result of a recording."""
        if isinstance(result, Partial):
            self._move(index, result.audio_processed_s)
        elif isinstance(result, Final):
            self._move(index, result.end_s)

    def finish(self, index: int, *, failed: bool) -> None:
        """Count a recording that is over; of a failed one, what came before is all there is."""
        self.n_over += 1
        if failed:
            self._durations_s[index] = self._done_s[index]
        else:
            self._done_s[index] = self._durations_s[index]

    def _move(self, index: int, time_s: float) -> None:
        self._done_s[index] = min(max(self._done_s[index], time_s), self._durations_s[index])


class ProgressBar:
    """Draw a tally on a terminal; elsewhere it is silent. A context manager."""

    def __init__(self, console: Console, tally: Tally) -> None:
        self._tally = tally
        self._progress = Progress(
            TextColumn("{task.fields[files]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[audio]}"),
            TextColumn("{task.fields[speed]}", style="bold"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not sys.stderr.isatty(),  # FORCE_COLOR makes no terminal
            # What is printed goes above the bar, where both are on the terminal, and
            # where it was to go otherwise.
            redirect_stdout=sys.stdout.isatty(),
        )
        self._task: TaskID = self._progress.add_task("", total=tally.total_s, **self._fields())

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def update(self) -> None:
        """Draw the tally as it is."""
        self._progress.update(
            self._task, total=self._tally.total_s, completed=self._tally.done_s, **self._fields()
        )

    def _fields(self) -> dict[str, Any]:
        tally = self._tally
        return {
            "files": f"{tally.n_over}/{tally.n_recordings} files",
            "audio": f"{clock_time(tally.done_s)} of {clock_time(tally.total_s)}",
            "speed": f"{tally.speed:.1f} x real time",
        }


def clock_time(time_s: float) -> str:
    """Write a length of time as hours, minutes and seconds. Pure."""
    whole_s = int(time_s)
    return f"{whole_s // 3600}:{whole_s // 60 % 60:02d}:{whole_s % 60:02d}"


def summarize(tally: Tally, *, n_files: int, n_failed: int) -> str:
    """Say in a sentence what came of it.

    n_files: named, with those that could not be opened and are not in the tally.
    """
    n_done = n_files - n_failed - (tally.n_recordings - tally.n_over)
    return (
        f"{n_done} of {n_files} recordings: {clock_time(tally.done_s)} of audio in "
        f"{tally.elapsed_s:.1f} s, {tally.speed:.1f} x real time"
    )
