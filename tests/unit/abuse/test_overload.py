"""What is wrong with a server under twice the load it takes is told."""

from __future__ import annotations

from typing import Any

import pytest

from siren_grpc.abuse.overload import OverloadReport, faults_of

CAPACITY = 10
REFUSED: dict[str, Any] = {"refusals": {"OVERLOADED": 10}, "refused_ms": [20.0] * 10}


def told(alone: dict[str, Any] | None = None, twice: dict[str, Any] | None = None) -> list[str]:
    served: dict[str, Any] = {"texts": ["one two"] * CAPACITY, "partial_ms": [40.0] * 50}
    return faults_of(
        OverloadReport(**(served | (alone or {}))),
        OverloadReport(**(served | REFUSED | (twice or {}))),
        capacity=CAPACITY,
        refused_ms=100.0,
    )


def test_a_server_that_keeps_its_pace_and_refuses_the_rest_is_well() -> None:
    assert told() == []
    assert told(twice={"partial_ms": [180.0] * 50}) == []


@pytest.mark.parametrize(
    ("alone", "twice", "fault"),
    [
        (
            {},
            {"partial_ms": [40.0] * 45 + [5000.0] * 5},
            "partials came after 5000 ms (p95) with twice as many offered, 40 ms alone: 180 ms is "
            "the bound",
        ),
        ({"partial_ms": []}, {}, "there were no partials to time alone"),
        ({}, {"partial_ms": []}, "there were no partials to time with twice as many offered"),
        (
            {},
            {"texts": ["one two"] * 8, "refusals": {"OVERLOADED": 12}},
            "of twice as many, 8 of 10 streams were served",
        ),
        (
            {"texts": [""] * CAPACITY},
            {"texts": [""] * CAPACITY},
            "streams were served, but read nothing",
        ),
        ({}, {"refused_ms": [300.0] * 10}, "the refused heard it after 300 ms (p95)"),
    ],
)
def test_what_is_wrong_is_told(alone: dict[str, Any], twice: dict[str, Any], fault: str) -> None:
    assert told(alone, twice) == [fault]


@pytest.mark.parametrize(("last_ms", "faults"), [(299.0, 0), (301.0, 1)])
def test_one_that_heard_it_late_is_told(last_ms: float, faults: int) -> None:
    """By a single refusal that waited, for a step under way say, p95 is well."""
    alone = OverloadReport(["one two"] * 40, [40.0] * 50)
    twice = OverloadReport(
        ["one two"] * 40, [40.0] * 50, [20.0] * 39 + [last_ms], {"OVERLOADED": 40}
    )
    found = faults_of(alone, twice, capacity=40, refused_ms=100.0)
    assert found == ["one of the refused heard it only after 301 ms"] * faults
