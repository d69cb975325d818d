from __future__ import annotations

import json

import pytest

from siren_grpc.bench.capacity import Measured, NoFigures, Sizing, read_report, size
from tests.support.audio import ROOT

REPORTS = ROOT / "docs" / "benchmarks"


def report(name: str) -> dict:
    return json.loads((REPORTS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("held", "peak", "headroom", "spare", "expected"),
    [
        (100, 100, 0.0, 0, Sizing(100, 1, 100)),
        (100, 101, 0.0, 0, Sizing(100, 2, 100)),
        (100, 500, 0.3, 1, Sizing(70, 9, 62)),
        (100, 1, 0.5, 2, Sizing(50, 3, 16)),
        (10, 90, 0.1, 0, Sizing(9, 10, 9)),
    ],
)
def test_replicas_carry_the_peak_without_the_spare_ones(held, peak, headroom, spare, expected):
    found = size(Measured(held, "said"), peak=peak, headroom=headroom, spare=spare)
    assert found == expected
    assert found.usable * (found.replicas - spare) >= peak
    assert found.threshold * found.replicas <= found.usable * (found.replicas - spare)


def test_no_headroom_is_invented():
    with pytest.raises(NoFigures, match="less headroom"):
        size(Measured(1, "said"), peak=1, headroom=0.5, spare=0)


def test_the_reports_that_ship_are_read():
    server = read_report(report("server"), chunk_frames=None)
    assert server.streams == report("server")["largest_held"]
    assert server.replica_bytes > 2**30
    engine = read_report(report("engine"), chunk_frames=7)
    assert engine.streams > server.streams
    assert engine.session_bytes > 2**19


@pytest.mark.parametrize(
    ("change", "chunk_frames", "says"),
    [
        ({"benchmark": "long"}, None, "no report"),
        ({"largest_held": None}, None, "held its bound"),
        ({}, 2, "siren bench server --chunk-frames 2"),
    ],
)
def test_what_was_not_measured_is_not_guessed(change, chunk_frames, says):
    with pytest.raises(NoFigures, match=says):
        read_report(report("server") | change, chunk_frames=chunk_frames)
