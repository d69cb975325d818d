"""Subtitles from finals: SubRip (SRT) and WebVTT. Writing them needs the extra `subtitles`.

`to_cues` decides what is shown when, and is pure; `to_srt` and `to_vtt` write it down.

    from siren_client.subtitles import to_cues, to_srt

    Path("talk.srt").write_text(to_srt(to_cues(recognition.finals)), encoding="utf-8")
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal, TypeAlias

from siren_client.types import Final

TimedWord: TypeAlias = tuple[str, float, float]
"""A word and where it is in the stream: text, start, end, in seconds."""

MAX_LINE_CHARS = 42
MAX_LINES = 2
# The usual rules of broadcasters (BBC and Netflix agree within a second): at most 7 s, at
# least 5/6 s where there is room, and a pause ends a cue.
MAX_CUE_S = 7.0
MIN_CUE_S = 5 / 6
PAUSE_S = 1.0
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "।", "؟")


class SubtitlesError(Exception):
    """Subtitles cannot be written; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown for a while."""

    start_s: float
    """When it appears, in seconds from the start of the stream."""
    end_s: float
    """When it is gone: after `start_s`, and not after the next cue appears."""
    lines: tuple[str, ...]
    """One or two lines of text."""

    @property
    def text(self) -> str:
        """The lines as one."""
        return " ".join(self.lines)


def to_cues(
    finals: Iterable[Final],
    *,
    max_line_chars: int = MAX_LINE_CHARS,
    max_lines: int = MAX_LINES,
    max_cue_s: float = MAX_CUE_S,
) -> list[Cue]:
    """Cut the text of finals into cues that do not overlap, in the order of their times.

    A final is cut between words: at the times of its words where it has them, else its
    span is divided among them by their letters. An utterance without speech gives none.

    Args:
        finals: Of one stream.
        max_line_chars: Most characters in a line. A longer word is cut.
        max_lines: Most lines in a cue.
        max_cue_s: Longest a cue is shown, in seconds, save for a single longer word.

    Raises:
        ValueError: A cue could hold nothing.
    """
    if max_line_chars < 1 or max_lines < 1:
        raise ValueError("a cue needs at least one line of one character")
    cues: list[Cue] = []
    limits_s: list[float] = []
    for final in sorted(finals, key=lambda final: final.start_s):
        words = [piece for word in timed_words(final) for piece in _cut_long(word, max_line_chars)]
        for group in _group(words, max_line_chars, max_lines, max_cue_s):
            lines = _wrap([word[0] for word in group], max_line_chars)
            cues.append(Cue(group[0][1], group[-1][2], lines))
            limits_s.append(final.end_s)
    return _without_overlap(cues, limits_s)


def timed_words(final: Final) -> list[TimedWord]:
    """Give each word of a final its time: from the words of the final, or from its letters."""
    texts = final.text.split()
    known: Sequence[Any] = getattr(final, "words", ())
    if known and [word.text for word in known] == texts:
        return [(word.text, word.start_s, word.end_s) for word in known]
    # Words that are not those of the text (it was rewritten: "25" for "twenty five") still
    # say where the speech is.
    start_s = known[0].start_s if known else final.start_s
    end_s = known[-1].end_s if known else final.end_s
    return _divide(texts, start_s, end_s)


def to_srt(cues: Iterable[Cue]) -> str:
    """Write cues as a SubRip file.

    Raises:
        SubtitlesError: The extra `subtitles` is not installed.
    """
    return _write(cues, "srt")


def to_vtt(cues: Iterable[Cue]) -> str:
    """Write cues as a WebVTT file.

    Raises:
        SubtitlesError: The extra `subtitles` is not installed.
    """
    return _write(cues, "vtt")


def _divide(texts: Sequence[str], start_s: float, end_s: float) -> list[TimedWord]:
    """Share a span among words by their letters; the space behind one counts to it."""
    n_chars = sum(len(text) + 1 for text in texts)
    words = []
    before = 0
    for text in texts:
        after = before + len(text) + 1
        words.append(
            (
                text,
                start_s + (end_s - start_s) * before / n_chars,
                start_s + (end_s - start_s) * after / n_chars,
            )
        )
        before = after
    return words


def _cut_long(word: TimedWord, max_chars: int) -> list[TimedWord]:
    """Cut a word that fits no line: a language without spaces is one long word."""
    text, start_s, end_s = word
    if len(text) <= max_chars:
        return [word]
    pieces = [text[at : at + max_chars] for at in range(0, len(text), max_chars)]
    return _divide(pieces, start_s, end_s)


def _group(
    words: Sequence[TimedWord], max_chars: int, max_lines: int, max_cue_s: float
) -> Iterator[Sequence[TimedWord]]:
    """Put as many words into a cue as it holds; a pause or a sentence's end closes it."""
    first = 0
    for at in range(1, len(words)):
        texts = [word[0] for word in words[first : at + 1]]
        ends_sentence = words[at - 1][0].endswith(_SENTENCE_ENDS)
        if (
            len(_fill(texts, max_chars)) > max_lines
            or words[at][2] - words[first][1] > max_cue_s
            or words[at][1] - words[at - 1][2] >= PAUSE_S
            # A cue of "No." alone would flicker: a sentence closes one that fills a line.
            or (ends_sentence and sum(len(text) + 1 for text in texts[:-1]) > max_chars // 2)
        ):
            yield words[first:at]
            first = at
    if words:
        yield words[first:]


def _fill(texts: Sequence[str], max_chars: int) -> tuple[str, ...]:
    """Fill lines one after the other; no text is longer than a line."""
    lines: list[str] = []
    for text in texts:
        if lines and len(lines[-1]) + 1 + len(text) <= max_chars:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
    return tuple(lines)


def _wrap(texts: Sequence[str], max_chars: int) -> tuple[str, ...]:
    """Break into as few lines as it takes, of lengths as even as they can be."""
    n_lines = len(_fill(texts, max_chars))
    shortest = max(len(text) for text in texts)
    for width in range(shortest, max_chars):
        lines = _fill(texts, width)
        if len(lines) == n_lines:
            return lines
    return _fill(texts, max_chars)


def _without_overlap(cues: Sequence[Cue], limits_s: Sequence[float]) -> list[Cue]:
    """Round to milliseconds, part cues that overlap, show short ones longer where there is room.

    limits_s: for each cue the end of its utterance's audio, behind which it is not stretched.
    """
    parted: list[Cue] = []
    starts_ms = [round(cue.start_s * 1000) for cue in cues]
    previous_end_ms = 0
    for at, cue in enumerate(cues):
        start_ms = max(starts_ms[at], previous_end_ms)
        end_ms = round(cue.end_s * 1000)
        room_ms = round(limits_s[at] * 1000)
        if at + 1 < len(cues):
            end_ms = min(end_ms, starts_ms[at + 1])
            room_ms = min(room_ms, starts_ms[at + 1])
        end_ms = max(end_ms, min(start_ms + round(MIN_CUE_S * 1000), room_ms), start_ms + 1)
        parted.append(Cue(start_ms / 1000, end_ms / 1000, cue.lines))
        previous_end_ms = end_ms
    return parted


def _write(cues: Iterable[Cue], file_format: Literal["srt", "vtt"]) -> str:
    try:
        import webvtt
    except ModuleNotFoundError as error:
        if error.name != "webvtt":
            raise
        raise SubtitlesError(
            "subtitles need the package webvtt-py. "
            "Install it with: pip install 'siren-grpc-client[subtitles]'"
        ) from error
    captions = [
        webvtt.Caption(
            start=_timestamp(cue.start_s),
            end=_timestamp(cue.end_s),
            text=[_to_markup(line, file_format) for line in cue.lines],
        )
        for cue in cues
    ]
    file = io.StringIO()
    # keep_formatting: what looks like a tag is something that was said.
    webvtt.WebVTT(captions=captions).write(file, format=file_format, keep_formatting=True)
    text = file.getvalue().strip("\n")
    return f"{text}\n" if text else ""


def _to_markup(line: str, file_format: str) -> str:
    if file_format == "vtt":
        return escape(line, quote=False)
    # SubRip has no escapes: players would take <unk> for a tag, and --> begins a cue.
    return line.replace("<", "‹").replace(">", "›")


def _timestamp(time_s: float) -> str:
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}"
