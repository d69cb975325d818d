"""What a caller of the client library may rely on, however often its connection was lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import grpc

from siren_client import Final, Partial, Reason, Result, SirenError, SpeechEvent, Started
from siren_client.errors import FieldViolation

BROKEN = SirenError(grpc.StatusCode.UNAVAILABLE, "Socket closed")
"""The connection is lost."""
UNKNOWN = SirenError(
    grpc.StatusCode.INVALID_ARGUMENT,
    "resume.token: no stream of this name",
    reason=Reason.INVALID_CONFIG,
    violations=(FieldViolation("resume.token", "no stream of this name"),),
)
"""The server that was reached knows no stream of this token."""


def essence(results: Iterable[Result], *, confidence: bool = True) -> list[tuple[object, ...]]:
    """Return what must not depend on lost connections: finals and events, in order.

    confidence: without it, words are compared without how certain they are, which depends on the
    batch's shape in the fourth decimal.
    """
    kept: list[tuple[object, ...]] = []
    for result in results:
        if isinstance(result, Final):
            words = result.words
            if not confidence:
                words = tuple(replace(word, confidence=None) for word in words)
            times = (result.start_s, result.end_s)
            kept.append((result.text, result.seq, *times, result.cause, words))
        elif isinstance(result, SpeechEvent):
            kept.append((result.type, result.time_s))
    return kept


def assert_promises(results: Sequence[Result], *, has_reset: bool = False) -> None:
    """Started once and first; what was stable stays; seq and time never go back.

    has_reset: the stream throws an utterance away, and what was stable of it.
    """
    assert [isinstance(result, Started) for result in results] == [
        i == 0 for i in range(len(results))
    ]
    stable, seq, final_seq, processed_s = "", 0, 0, 0.0
    for result in results:
        if isinstance(result, Partial):
            assert result.audio_processed_s >= processed_s
            processed_s = result.audio_processed_s
        if isinstance(result, (Partial, Final)):
            assert has_reset or result.text.startswith(stable)
            # A final may end before what a partial of it was read from.
            assert result.seq >= (seq if isinstance(result, Partial) else final_seq)
            seq = result.seq
            final_seq = seq if isinstance(result, Final) else final_seq
            stable = result.stable if isinstance(result, Partial) else ""
