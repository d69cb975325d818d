from __future__ import annotations

from random import Random

import pytest

from siren_grpc.bench.schedule import packets, staggered_starts


def test_packets_tile_the_stream_and_are_due_when_heard() -> None:
    plan = packets(3400, sample_rate_hertz=16000, packet_ms=100, jitter_ms=0, random=Random(1))
    assert [(packet.start_samples, packet.end_samples) for packet in plan] == [
        (0, 1600),
        (1600, 3200),
        (3200, 3400),
    ]
    assert [packet.due_s for packet in plan] == pytest.approx([0.1, 0.2, 0.2125])


def test_jitter_delays_and_never_reorders() -> None:
    plan = packets(32000, sample_rate_hertz=16000, packet_ms=10, jitter_ms=40, random=Random(7))
    dues = [packet.due_s for packet in plan]
    assert dues == sorted(dues)
    assert all(0 <= p.due_s - p.end_samples / 16000 <= 0.04 for p in plan)
    assert len(set(dues)) > 50


def test_packets_need_a_sample() -> None:
    with pytest.raises(ValueError, match="no sample"):
        packets(10, sample_rate_hertz=8000, packet_ms=0, jitter_ms=0, random=Random(1))


def test_starts_are_spread_evenly_in_random_order() -> None:
    starts = staggered_starts(4, 2.0, Random(3))
    assert sorted(starts) == [0.0, 0.5, 1.0, 1.5]
