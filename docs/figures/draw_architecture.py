"""Draw docs/figures/architecture.svg: the journey of one chunk. `make docs` runs it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path

SVG = Path(__file__).with_name("architecture.svg")
WIDTH, HEIGHT = 1180, 640

INK, MUTED, LINE = "#1f2933", "#52606d", "#7b8794"
BOLD, MONOSPACE = 'font-weight="600"', 'font-family="monospace"'
LOOP, THREAD, CLIENT = "#e8f1fb", "#fdf1e3", "#eef2ee"


@dataclass(frozen=True)
class Box:
    """A step of the journey."""

    x: int
    y: int
    width: int
    height: int
    number: str
    title: str
    file: str
    lines: tuple[str, ...]

    @property
    def middle(self) -> int:
        """Vertical centre."""
        return self.y + self.height // 2

    @property
    def end_y(self) -> int:
        """Lower edge."""
        return self.y + self.height


STREAM = Box(
    230,
    96,
    176,
    150,
    "1",
    "RequestReader",
    "server/reader.py",
    ("reads one message", "at a time, in order"),
)
INGRESS = Box(
    430,
    96,
    206,
    150,
    "2",
    "Ingress",
    "session/ingress.py",
    ("order and seq checked;", "decoded, resampled,", "cut into chunks;", "controls stay in line"),
)
SUBMIT = Box(
    660,
    96,
    190,
    150,
    "3",
    "EngineSession",
    "engine/session.py",
    ("waits while more than", "max_backlog_s of audio", "is under way"),
)
PLAN = Box(
    916,
    96,
    224,
    126,
    "4",
    "Scheduler.plan",
    "scheduling/scheduler.py",
    ("oldest work first, one", "chunk a session, a batch", "of equal look-ahead"),
)
STEP = Box(
    916,
    254,
    224,
    144,
    "5",
    "NemoBackend.step",
    "models/nemo_backend.py",
    (
        "mel → encoder → decoder",
        "for the new chunk only;",
        "caches gathered by slot,",
        "kept if the step succeeds",
    ),
)
ADVANCE = Box(
    656,
    430,
    210,
    126,
    "6",
    "Utterance.advance",
    "session/utterance.py",
    ("tokens → text; what whole", "chunks gave is stable;", "a control gives the final"),
)
OUTBOX = Box(
    438,
    430,
    204,
    126,
    "7",
    "Outbox",
    "session/outbox.py",
    ("a newer partial replaces", "an unsent one; finals and", "events are never dropped"),
)
WRITE = Box(
    224,
    430,
    196,
    126,
    "8",
    "Stream.results",
    "server/stream.py",
    ("domain → protobuf;", "errors → rich status"),
)
BOXES = (STREAM, INGRESS, SUBMIT, PLAN, STEP, ADVANCE, OUTBOX, WRITE)


def text(
    x: float, y: float, content: str, *, size: int = 13, style: str = "", fill: str = INK
) -> str:
    """Return a line of text whose baseline starts at (x, y)."""
    look = f'font-size="{size}" fill="{fill}" {style}'
    return f'<text x="{x}" y="{y}" {look}>{escape(content)}</text>'


def note(x: float, y: float, content: str) -> str:
    """Return a line of explanation."""
    return text(x, y, content, fill=MUTED)


def area(x: int, y: int, width: int, height: int, fill: str) -> str:
    """Return a lane."""
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="12" fill="{fill}"/>'


def draw_box(box: Box) -> str:
    """Return a step as a numbered card."""
    parts = [
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="8" '
        f'fill="#ffffff" stroke="{LINE}"/>',
        f'<circle cx="{box.x + 20}" cy="{box.y + 22}" r="11" fill="{INK}"/>',
        text(
            box.x + 20, box.y + 27, box.number, fill="#ffffff", style=f'text-anchor="middle" {BOLD}'
        ),
        text(box.x + 38, box.y + 27, box.title, size=15, style=BOLD),
        text(box.x + 14, box.y + 49, box.file, size=12, fill=MUTED, style=MONOSPACE),
    ]
    parts += [text(box.x + 14, box.y + 72 + 19 * i, line) for i, line in enumerate(box.lines)]
    return "\n".join(parts)


def arrow(*points: tuple[float, float], dashed: bool = False) -> str:
    """Return a line through the points with an arrow head at its end."""
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    dash = ' stroke-dasharray="6 5"' if dashed else ""
    line = f'fill="none" stroke="{INK}" stroke-width="1.8"{dash}'
    return f'<path d="{path}" {line} marker-end="url(#head)"/>'


def right(start: Box, end: Box) -> str:
    """Return the arrow between two boxes of a row read left to right."""
    return arrow((start.x + start.width, start.middle), (end.x - 3, start.middle))


def down(start: Box, end: Box) -> str:
    """Return the arrow between two boxes of a column."""
    x = start.x + start.width // 2
    return arrow((x, start.y + start.height), (x, end.y - 3))


def left(start: Box, end: Box) -> str:
    """Return the arrow between two boxes of a row read right to left."""
    return arrow((start.x, start.middle), (end.x + end.width + 3, start.middle))


def draw() -> str:
    """Return the whole picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 32 {WIDTH} {HEIGHT - 32}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title">',
        '<title id="title">The journey of one chunk through Siren: the event loop reads, cuts and '
        "queues audio; the stepper thread plans, steps and interprets; results go back through an "
        "outbox.</title>",
        '<defs><marker id="head" viewBox="0 0 10 10" refX="8" refY="5" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{INK}"/>'
        "</marker></defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        area(20, 48, 150, 532, CLIENT),
        area(206, 48, 668, 532, LOOP),
        area(892, 48, 272, 532, THREAD),
        text(36, 76, "Client", size=15, style=BOLD),
        text(222, 76, "Front end: an event loop (asyncio) that runs no model", size=15, style=BOLD),
        text(908, 76, "Engine: the stepper", size=15, style=BOLD),
        text(36, 150, "config"),
        text(36, 172, "audio, seq"),
        text(36, 194, "control"),
        text(36, 466, "started"),
        text(36, 488, "partial"),
        text(36, 510, "event"),
        text(36, 532, "final"),
        *(draw_box(box) for box in BOXES),
        arrow((120, STREAM.middle), (STREAM.x - 3, STREAM.middle)),
        right(STREAM, INGRESS),
        right(INGRESS, SUBMIT),
        arrow((SUBMIT.x + SUBMIT.width, PLAN.middle), (PLAN.x - 3, PLAN.middle)),
        down(PLAN, STEP),
        arrow(
            (STEP.x + STEP.width // 2, STEP.end_y),
            (STEP.x + STEP.width // 2, ADVANCE.middle),
            (ADVANCE.x + ADVANCE.width + 3, ADVANCE.middle),
        ),
        left(ADVANCE, OUTBOX),
        left(OUTBOX, WRITE),
        arrow((WRITE.x, WRITE.middle), (96, WRITE.middle)),
        # Back-pressure: what a full backlog and an unread outbox do.
        arrow((720, SUBMIT.end_y), (720, 304), (70, 304), (70, 208), dashed=True),
        arrow((628, OUTBOX.y), (628, 340), (800, 340), (800, SUBMIT.end_y + 3), dashed=True),
        note(232, 292, "backlog full: the stream is not read, HTTP/2 slows the client down"),
        note(232, 362, "Chunks and controls travel in one queue, so a control takes"),
        note(232, 382, "effect exactly where the client put it."),
        note(716, 382, "unread results"),
        note(716, 400, "also stop the audio"),
        note(
            36,
            614,
            "Numbers: the steps in docs/architecture.md. Solid: data. Dashed: back-pressure.",
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the picture, or with --check fail when it is stale."""
    drawn = draw()
    if "--check" not in sys.argv:
        SVG.write_text(drawn, encoding="utf-8")
    elif not SVG.exists() or SVG.read_text(encoding="utf-8") != drawn:
        sys.exit(f"{SVG.name} is stale; run `make docs` and commit the result")


if __name__ == "__main__":
    main()
