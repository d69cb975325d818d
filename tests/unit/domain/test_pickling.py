"""What goes between processes arrives as it was."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

from siren_grpc.domain.step import StepResult, StepTiming, TokenTiming
from siren_grpc.domain.work import Chunk, EndUtterance, Preview, Voice
from siren_grpc.engine.messages import Delivery, Push, Recognised

SAMPLES = np.linspace(-1, 1, 1600, dtype=np.float32)
CHUNK = Chunk(SAMPLES, 56, True, 8960, 5, marks=((1600, 1), (3200, 2)), voice=Voice.FRESH)
PREVIEW = Preview(SAMPLES, 24, False, 4480, 3)
TIMING = StepTiming(TokenTiming((1, 4), (0.5, 0.75)), tail_frames=(9,))
RESULT = StepResult((1, 2), (3, 4), (7,), (0.25,), TIMING)


def as_plain(value: Any) -> Any:
    """Return dataclasses as their fields' values, and arrays as bytes, to be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if hasattr(type(value), "__dataclass_fields__"):
        return type(value), {f.name: as_plain(getattr(value, f.name)) for f in fields(value)}
    return value


@pytest.mark.parametrize(
    "message",
    [
        Push(7, CHUNK, 12.5),
        Push(7, PREVIEW, 12.5),
        Push(7, EndUtterance(8960, 5), 12.5),
        Delivery(7, Recognised(CHUNK, RESULT, 0.01)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_arrive_as_they_were(message: Any) -> None:
    arrived = pickle.loads(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    assert as_plain(arrived) == as_plain(message)
    with pytest.raises(FrozenInstanceError):
        arrived.session_id = 8
    callee, arguments = message.__reduce__()
    assert (callee, len(arguments)) == (type(message), len(fields(message)))
