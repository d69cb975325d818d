"""The live view of a terminal: finals scroll up, the moving hypothesis stays below.

`LiveState`, `advance` and the `render_` functions are pure; `LiveView` only puts
what they give on a console.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from siren_client.cli.lines import to_alternative_line, to_word_line
from siren_client.types import (
    Final,
    Partial,
    Result,
    Resumed,
    SpeechEvent,
    SpeechEventType,
    Started,
    Updated,
)

if TYPE_CHECKING:
    from typing_extensions import Self

STABLE_STYLE = "bold bright_white"
TAIL_STYLE = "dim italic yellow"
FINAL_STYLE = STABLE_STYLE
NOTE_STYLE = "dim"


@dataclass(frozen=True, slots=True)
class Marks:
    """The signs of the view that are not text."""

    speaking: str = "●"
    silent: str = "○"
    cut: str = "…"
    span: str = "–"
    between: str = "·"

    @property
    def all(self) -> str:
        """Every one."""
        return self.speaking + self.silent + self.cut + self.span + self.between


MARKS = Marks()
PLAIN_MARKS = Marks("*", ".", "...", "-", "|")


def marks_for(encoding: str) -> Marks:
    """Return those that a terminal of this encoding can show."""
    try:
        MARKS.all.encode(encoding)
    except (LookupError, UnicodeEncodeError):
        return PLAIN_MARKS
    return MARKS


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveState:
    """What the moving line shows."""

    duration_s: float | None
    """Length of the whole recording; None for live audio."""
    audio_s: float = 0.0
    """How much of it the results account for."""
    is_speaking: bool = False
    partial: Partial | None = None
    """The newest hypothesis of the current utterance."""


def advance(state: LiveState, result: Result) -> LiveState:
    """Make the state after a result."""
    match result:
        case Partial():
            return replace(
                state, partial=result, audio_s=max(state.audio_s, result.audio_processed_s)
            )
        case Final():
            return replace(
                state,
                partial=None,
                is_speaking=False,
                audio_s=max(state.audio_s, result.end_s),
            )
        case SpeechEvent(type=SpeechEventType.SERVER_DRAINING):
            return state
        case SpeechEvent():
            return replace(
                state,
                is_speaking=result.type is SpeechEventType.SPEECH_STARTED,
                audio_s=max(state.audio_s, result.time_s),
            )
        case Started() | Updated() | Resumed():
            return state


def render_state(state: LiveState, *, max_chars: int, marks: Marks = MARKS) -> Text:
    """Draw the moving line: time, whether someone speaks, the hypothesis.

    Args:
        state: What to draw.
        max_chars: Room for the hypothesis. Of a longer one the end is shown, where
            it moves.
        marks: The signs.
    """
    mark = marks.speaking if state.is_speaking else marks.silent
    whole = "" if state.duration_s is None else f" / {_clock(state.duration_s)}"
    line = Text.assemble((f"{_clock(state.audio_s)}{whole} {mark} ", NOTE_STYLE))
    if state.partial is None:
        return line
    hypothesis = Text.assemble(
        (state.partial.stable, STABLE_STYLE), (state.partial.tail, TAIL_STYLE)
    )
    if len(hypothesis) > max_chars:
        line.append(marks.cut, style=NOTE_STYLE)
        hypothesis = hypothesis[len(hypothesis) - max_chars + len(marks.cut) :]
    return line.append_text(hypothesis)


def render_final(final: Final, *, marks: Marks = MARKS) -> Text:
    """Draw the line an utterance leaves behind, and one for each word and alternative it has."""
    return Text.assemble(
        (f"{_clock(final.start_s)} {marks.span} {_clock(final.end_s)}   ", NOTE_STYLE),
        (final.text, FINAL_STYLE) if final.text else ("(no speech)", "dim italic"),
        *((f"\n{to_word_line(word)}", NOTE_STYLE) for word in final.words),
        *((f"\n{to_alternative_line(other)}", NOTE_STYLE) for other in final.alternatives),
    )


def render_legend() -> Text:
    """Explain the two styles of the moving line."""
    return Text.assemble(
        ("stable text", STABLE_STYLE),
        (" will not change   ", NOTE_STYLE),
        ("the tail", TAIL_STYLE),
        (" still may", NOTE_STYLE),
    )


def render_started(started: Started, *, marks: Marks = MARKS) -> Text:
    """Say what the server chose."""
    words = [started.model, started.language_code, f"{started.latency_ms} ms look-ahead"]
    if started.decoder is not None:
        words.append(started.decoder.value)
    return Text(f" {marks.between} ".join(word for word in words if word), style=NOTE_STYLE)


class LiveView:
    """Show one stream's results on a terminal as they come; a context manager."""

    def __init__(self, console: Console, *, duration_s: float | None) -> None:
        self._console = console
        self._marks = marks_for(console.encoding)
        self._state = LiveState(duration_s=duration_s)
        # Drawn when there is news, by the thread that has it; gone when it is over.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, result: Result) -> None:
        """Bring the terminal up to date with a result."""
        self._state = advance(self._state, result)
        size = self._console.size
        # Two lines are spared: for the time before the text, and the cursor's own.
        max_chars = size.width * max(1, size.height - 2)
        # First, so that no final stands above the hypothesis it has replaced.
        line = render_state(self._state, max_chars=max_chars, marks=self._marks)
        self._live.update(line, refresh=True)
        if isinstance(result, Started):
            self._console.print(render_started(result, marks=self._marks))
        elif isinstance(result, Final):
            self._console.print(render_final(result, marks=self._marks))


def _clock(time_s: float) -> str:
    tenths = round(time_s * 10)
    return f"{tenths // 600:02d}:{tenths % 600 / 10:04.1f}"
