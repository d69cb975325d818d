"""Results as lines of text or JSON, for pipes and files. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict

from siren_client.types import Final, Partial, Result, SpeechEvent, Started, Updated


def to_plain_line(result: Result, *, partials: bool) -> str | None:
    """Write a result as a line of text; None for one that is not shown.

    A final is its text, an empty one nothing. A partial, where asked for, is its text
    with what will not change any more in brackets, as the protocol's example writes it.
    """
    if isinstance(result, Final):
        return result.text or None
    if isinstance(result, Partial) and partials:
        return f"[{result.stable}]{result.tail}"
    return None


def to_json_line(result: Result, *, file: str) -> str:
    """Write a result as one JSON object: `type`, `file` and the fields of its class."""
    fields: dict[str, object] = {"type": _KINDS[type(result)], "file": file}
    for name, value in asdict(result).items():
        fields["event" if name == "type" else name] = value
    return json.dumps(fields, ensure_ascii=False)


_KINDS: dict[type, str] = {
    Started: "started",
    Partial: "partial",
    Final: "final",
    SpeechEvent: "event",
    Updated: "updated",
}
