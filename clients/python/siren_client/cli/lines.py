"""Results as lines of text or JSON, for pipes and files. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

from siren_client.errors import SirenError
from siren_client.types import (
    Alternative,
    Final,
    Partial,
    Result,
    Resumed,
    SpeechEvent,
    Started,
    Updated,
    Word,
)


def to_plain_line(result: Result, *, partials: bool, channels: bool = False) -> str | None:
    """Write a result as a line of text; None for one that is not shown.

    A final is its text, an empty one nothing; one with words is a line for each of them, and
    each of its alternatives is a line behind it. A partial, where asked for, is its text with
    what will not change any more in brackets, as the protocol's example writes it.

    channels: whether each line begins with the channel it is of.
    """
    if isinstance(result, Final):
        lines = [*map(to_word_line, result.words)] or [result.text]
        lines += map(to_alternative_line, result.alternatives)
    elif isinstance(result, Partial) and partials:
        lines = [f"[{result.stable}]{result.tail}"]
    else:
        return None
    if not any(lines):
        return None
    name = channel_name(result) if channels else ""
    return "\n".join(name + line for line in lines)


def channel_name(result: Partial | Final) -> str:
    """Write what a line begins with where each tells its channel."""
    return f"channel {result.channel}: "


def to_word_line(word: Word) -> str:
    """Write a word as columns: start and end in seconds, confidence, the word."""
    sure = "   -" if word.confidence is None else f"{word.confidence:4.2f}"
    return f"{word.start_s:9.2f} {word.end_s:9.2f}  {sure}  {word.text}"


def to_alternative_line(other: Alternative) -> str:
    """Write another reading: how likely it is, and its text."""
    return f"  or {other.probability:4.2f}  {other.text}"


def without_words(result: Result) -> Result:
    """Leave out the words of a final, for who did not ask for them."""
    return replace(result, words=()) if isinstance(result, Final) else result


def to_json_line(result: Result, *, file: str | None) -> str:
    """Write a result as one JSON object: `type`, `file` and the fields of its class.

    Without a file the field is left out.
    """
    fields = _begin(_KINDS[type(result)], file)
    for name, value in asdict(result).items():
        fields["event" if name == "type" else name] = value
    return json.dumps(fields, ensure_ascii=False)


def to_json_error_line(error: Exception, *, file: str | None) -> str:
    """Write why a recording failed as one JSON object, the last of that recording.

    `status` and `reason` are the server's; null where it has no part in it.
    """
    fields = _begin("error", file)
    fields.update(message=str(error), status=None, reason=None)
    if isinstance(error, SirenError):
        fields.update(status=error.status.name, reason=error.reason)
    return json.dumps(fields, ensure_ascii=False)


def _begin(kind: str, file: str | None) -> dict[str, object]:
    return {"type": kind} if file is None else {"type": kind, "file": file}


_KINDS: dict[type, str] = {
    Started: "started",
    Partial: "partial",
    Final: "final",
    SpeechEvent: "event",
    Updated: "updated",
    Resumed: "resumed",
}
