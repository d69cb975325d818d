"""The checker catches each kind of violation: good histories, made bad in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.history import checker
from tests.support.history.checker import check
from tests.support.history.record import (
    AUDIO,
    END,
    FINALIZE,
    RESET,
    UPDATE,
    Begun,
    Ended,
    History,
    Left,
    Op,
    Script,
    Sent,
    Told,
)

SECOND = bytes(range(1, 251)) * 128
OPS = (
    *(Op(AUDIO, SECOND, 1), Op(AUDIO, SECOND, 2), Op(FINALIZE)),
    *(Op(UPDATE, value=80), Op(AUDIO, SECOND, 3), Op(RESET), Op(AUDIO, SECOND, 4), Op(END)),
)
SCRIPT = Script(b"", OPS, frozenset({"OK"}))


def at(seconds: float) -> int:
    return round(16000 * seconds)


def good() -> History:
    """A stream that breaks once, with two finals, an update and a reset."""
    said = [
        Told(0, "event", end=at(0.2), cause="SPEECH_STARTED", number=1),
        Told(0, "partial", "one", 3, 1, end=at(1)),
        Told(0, "partial", "one two", 3, 2, end=at(2)),
        Told(0, "event", end=at(1.8), cause="SPEECH_ENDED", number=2),
        Told(0, "final", "one two", seq=2, start=0, end=at(2), cause="FINALIZE", number=3),
    ]
    more = [
        Told(1, "updated", end=at(2), value=80, number=4),
        Told(1, "event", end=at(2.1), cause="SPEECH_STARTED", number=5),
        Told(1, "partial", "lost", 4, 3, end=at(3)),
        Told(1, "event", end=at(3.5), cause="SPEECH_STARTED", number=6),
        Told(1, "event", end=at(3.9), cause="SPEECH_ENDED", number=7),
        Told(1, "final", "end", seq=4, start=at(3), end=at(4), cause="END", number=8),
    ]
    return History(
        SCRIPT,
        [
            *(Begun(0, None), Sent(0, 0)),
            Told(0, "started", token="t", session="s"),
            *(Sent(0, 1), Sent(0, 2), *said, Sent(0, 3), Left(0), Begun(1, 3)),
            Told(1, "started", token="t", session="s", value=3),
            *(Sent(1, op) for op in range(3, 9)),
            *more,
            Ended(1, "OK"),
        ],
        tuple(told.essence for told in [*said, *more] if told.kind != "partial"),
    )


def find(history: History, kind: str, n: int = 0) -> int:
    """Return the place of the n-th response of a kind."""
    return [i for i, r in enumerate(history.records) if isinstance(r, Told) and r.kind == kind][n]


def change(kind: str, n: int, **fields: object) -> Callable[[History], None]:
    def act(history: History) -> None:
        i = find(history, kind, n)
        history.records[i] = replace(history.records[i], **fields)  # type: ignore[arg-type]

    return act


def drop(kind: str, n: int) -> Callable[[History], None]:
    def act(history: History) -> None:
        del history.records[find(history, kind, n)]

    return act


def double(kind: str, n: int) -> Callable[[History], None]:
    def act(history: History) -> None:
        i = find(history, kind, n)
        history.records.insert(i, history.records[i])

    return act


def append(record: object) -> Callable[[History], None]:
    return lambda history: history.records.append(record)  # type: ignore[arg-type]


def end_with(reason: str) -> Callable[[History], None]:
    def act(history: History) -> None:
        history.records[-1] = Ended(1, reason)

    return act


def swap_finals(history: History) -> None:
    i, j = find(history, "final", 0), find(history, "final", 1)
    history.records[i], history.records[j] = history.records[j], history.records[i]


MUTATIONS: dict[str, list[tuple[str, Callable[[History], None]]]] = {
    "started_comes_first": [
        ("it is missing", drop("started", 0)),
        ("it comes twice", double("started", 1)),
    ],
    "a_call_ends_once": [
        ("two statuses", append(Ended(1, "OK"))),
        ("none", lambda history: history.records.pop()),
        ("a result behind it", append(Told(1, "partial", end=at(4), seq=4))),
    ],
    "a_resumed_stream_is_the_same": [
        ("another session", change("started", 1, session="other")),
        ("another token", change("started", 1, token="other")),
        ("more requests than were sent", change("started", 1, value=9)),
    ],
    "what_is_stable_stays": [
        ("a partial takes it back", change("partial", 1, text="won two")),
        ("stable_len shrinks", change("partial", 1, stable_len=2)),
        ("stable_len is longer than the text", change("partial", 0, stable_len=4)),
        ("the final takes it back", change("final", 0, text="won two")),
        ("it outlives a reset", change("partial", 2, end=at(3.5), seq=3)),
    ],
    "seq_is_what_is_accounted_for": [
        ("too large", change("partial", 0, seq=2)),
        ("too small", change("partial", 1, seq=1)),
        ("of a final", change("final", 1, seq=3)),
    ],
    "nothing_is_heard_before_it_is_sent": [
        ("a partial", change("partial", 0, end=at(3), seq=3)),
        ("an event", change("event", 0, end=at(30))),
    ],
    "finals_follow_one_another": [
        ("they overlap", change("final", 1, start=at(1.5))),
        ("one ends before it starts", change("final", 1, start=at(5))),
        ("a partial reaches back", change("partial", 2, end=at(1.5), seq=1)),
        ("one reaches over a reset", change("final", 1, start=at(2.5))),
        ("they are swapped", swap_finals),
    ],
    "each_finalize_has_its_final": [
        ("none", drop("final", 0)),
        ("two", double("final", 0)),
        ("elsewhere", change("final", 0, end=at(1.9), seq=1)),
        ("of another cause", change("final", 0, cause="SILENCE")),
    ],
    "an_ok_stream_is_complete": [
        ("no last final", drop("final", 1)),
        ("the tail is not heard", change("final", 1, end=at(3.9), seq=3)),
        (
            "something follows it",
            lambda h: h.records.insert(len(h.records) - 1, Told(1, "event", end=at(4), number=9)),
        ),
    ],
    "speech_starts_and_ends": [
        ("it never starts", drop("event", 0)),
        ("it never ends", drop("event", 1)),
        ("it starts twice", double("event", 0)),
        ("it ends before it starts", change("event", 1, end=at(0.1))),
    ],
    "updates_are_acknowledged": [
        ("not", drop("updated", 0)),
        ("twice", double("updated", 0)),
        ("otherwise", change("updated", 0, value=7)),
    ],
    "nothing_is_told_twice_or_left_out": [
        ("a gap", drop("event", 1)),
        ("a final again in the second call", double("final", 0)),
        ("no number", change("final", 1, number=0)),
    ],
    "it_ends_as_it_must": [
        ("with another error", end_with("INTERNAL_ERROR")),
        ("without a reason", end_with("")),
        ("refused behind its start", end_with("OVERLOADED")),
    ],
    "it_reads_as_undisturbed": [
        ("another text", change("final", 1, text="and")),
        ("another place", change("final", 1, start=at(3.1))),
        ("an event moves", change("event", 2, end=at(2.2))),
        ("one result less", drop("event", 3)),
        ("one more", double("event", 3)),
    ],
}


def test_a_good_history_has_no_violation() -> None:
    assert check(good()) == []


@pytest.mark.parametrize(
    ("rule", "mutate"),
    [
        pytest.param(rule, mutate, id=f"{rule}: {what}")
        for rule, mutations in MUTATIONS.items()
        for what, mutate in mutations
    ],
)
def test_a_bad_one_has(rule: str, mutate: Callable[[History], None]) -> None:
    history = good()
    mutate(history)
    assert rule in {violation.rule for violation in check(history)}


def cut_short() -> History:
    """The good one, stopped within its last utterance: whose speech was only heard at its end."""
    history = good()
    history.script = replace(SCRIPT, ends=frozenset({"OK", "SHUTTING_DOWN"}))
    change("final", 1, cause="SHUTDOWN", end=at(3.6), seq=3, number=6)(history)
    drop("event", 4)(history)
    drop("event", 3)(history)
    end_with("SHUTTING_DOWN")(history)
    return history


def test_an_utterance_cut_short_may_be_heard_otherwise_those_before_it_not() -> None:
    history = cut_short()
    assert check(history) == []
    change("final", 0, text="one too")(history)
    assert "it_reads_as_undisturbed" in {violation.rule for violation in check(history)}
    history = cut_short()
    change("event", 0, end=at(0.3))(history)
    assert "it_reads_as_undisturbed" in {violation.rule for violation in check(history)}


def test_every_rule_has_a_history_that_breaks_it() -> None:
    assert set(MUTATIONS) == {rule.__name__ for rule in checker.RULES}


def test_a_server_that_drops_finals_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of it, generator and player and all, has teeth."""
    from siren_grpc.domain.results import Final
    from siren_grpc.session.outbox import Outbox
    from tests.support.history.world import play_all

    logging.disable(logging.CRITICAL)
    put, n_finals = Outbox.put, 0

    def put_most(outbox: Outbox, result: object) -> None:
        nonlocal n_finals
        n_finals += isinstance(result, Final)
        if not (isinstance(result, Final) and n_finals % 10 == 0):
            put(outbox, result)  # type: ignore[arg-type]

    monkeypatch.setattr(Outbox, "put", put_most)
    try:
        found = asyncio.run(play_all(range(40)))
    finally:
        logging.disable(logging.NOTSET)
    broken = {violation.rule for _, violations in found.values() for violation in violations}
    assert "an_ok_stream_is_complete" in broken
    assert "each_finalize_has_its_final" in broken
