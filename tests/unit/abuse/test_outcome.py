from __future__ import annotations

import pytest

from siren_grpc.abuse.outcome import Kind, Outcome, violation

MESSAGE = frozenset({"INVALID_MESSAGE"})
REFUSED = Outcome(Kind.STATUS, "INVALID_ARGUMENT", "INVALID_MESSAGE", "send a config")


def test_what_was_expected_is_no_violation() -> None:
    assert violation(REFUSED, MESSAGE) is None
    assert violation(Outcome(Kind.STATUS, "OK"), frozenset({"OK"})) is None
    full = Outcome(Kind.STATUS, "RESOURCE_EXHAUSTED", "OVERLOADED", "full")
    assert violation(full, MESSAGE) is None


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(Kind.HANGS),
        Outcome(Kind.CLOSED),
        Outcome(Kind.STATUS, "OK"),
        Outcome(Kind.STATUS, "INVALID_ARGUMENT", "INVALID_CONFIG", "another reason"),
        Outcome(Kind.STATUS, "INVALID_ARGUMENT", "INVALID_MESSAGE", ""),
        Outcome(Kind.STATUS, "INVALID_ARGUMENT", "", "no reason"),
        Outcome(Kind.STATUS, "UNKNOWN", "", "Unexpected <class 'DecodeError'>"),
        Outcome(Kind.STATUS, "INTERNAL", "INTERNAL_ERROR", "see the log"),
    ],
    ids=lambda outcome: outcome.label or outcome.message,
)
def test_anything_else_is_one(outcome: Outcome) -> None:
    assert violation(outcome, MESSAGE) is not None


def test_grpc_may_close_what_it_refuses_but_neither_hang_nor_blame_itself_on_us() -> None:
    for kind in (Kind.CLOSED, Kind.GOAWAY, Kind.RESET, Kind.SERVED):
        assert violation(Outcome(kind), frozenset(), is_grpcs_own=True) is None
    for outcome in (
        Outcome(Kind.HANGS),
        Outcome(Kind.STATUS, "UNKNOWN", "", "Unexpected"),
        Outcome(Kind.STATUS, "INTERNAL", "INTERNAL_ERROR", "see the log"),
    ):
        assert violation(outcome, frozenset(), is_grpcs_own=True) is not None


@pytest.mark.parametrize("code", ["NOT_FOUND", "RESOURCE_EXHAUSTED"])
def test_only_grpc_itself_may_say_no_more_than_a_code(code: str) -> None:
    outcome = Outcome(Kind.STATUS, code)
    assert violation(outcome, frozenset({code}), is_grpcs_own=True) is None
    assert violation(outcome, frozenset({code})) == f"{code} without a message"
    ours = Outcome(Kind.STATUS, code, reason="OVERLOADED")
    assert violation(ours, frozenset(), is_grpcs_own=True) == f"{code} OVERLOADED without a message"
