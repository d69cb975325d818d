"""A single refusal that waited, for a step under way say, is told although p95 is well."""

from __future__ import annotations

import pytest

from siren_grpc.abuse.overload import OverloadReport, faults_of


@pytest.mark.parametrize(("last_ms", "faults"), [(299.0, 0), (301.0, 1)])
def test_one_that_heard_it_late_is_told(last_ms: float, faults: int) -> None:
    alone = OverloadReport(["one two"] * 40, [40.0] * 50)
    twice = OverloadReport(
        ["one two"] * 40, [40.0] * 50, [20.0] * 39 + [last_ms], {"OVERLOADED": 40}
    )
    found = faults_of(alone, twice, capacity=40, refused_ms=100.0)
    assert found == ["one of the refused heard it only after 301 ms"] * faults
