"""Times of the protocol."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration


def to_duration(n_samples: int, hertz: int) -> Duration:
    """Return so many samples as a duration, to the nanosecond, rounded down."""
    seconds, rest = divmod(n_samples, hertz)
    return Duration(seconds=seconds, nanos=rest * 1_000_000_000 // hertz)


def of_seconds(seconds: float) -> Duration:
    """Return seconds as a duration, to the microsecond; never less than none."""
    whole, micros = divmod(max(0, round(seconds * 1_000_000)), 1_000_000)
    return Duration(seconds=whole, nanos=micros * 1000)
