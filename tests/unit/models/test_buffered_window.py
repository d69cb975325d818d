"""A window is the end of what was heard, its encoder frames those of the window before it."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.domain.geometry import BufferedContext
from siren_grpc.domain.work import AudioWork, Chunk, Preview, Samples
from siren_grpc.models.buffered_window import AudioWindows, NextWindows

FRAME = 10
CONTEXTS = st.builds(BufferedContext, st.integers(0, 5), st.integers(1, 4), st.integers(0, 3))
CPU = torch.device("cpu")


def make_windows(context: BufferedContext, n_slots: int = 1, spare_frames: int = 0) -> AudioWindows:
    width = context.total_frames + spare_frames
    return AudioWindows(n_slots=n_slots, max_frames=width, frame_samples=FRAME, device=CPU)


def ramp(start: int, n: int) -> Samples:
    return np.arange(start + 1, start + n + 1, dtype=np.float32)


def chunk(start: int, n: int) -> Chunk:
    return Chunk(ramp(start, n), 0, start == 0, 0, 0)


def append(
    windows: AudioWindows, context: BufferedContext, works: list[AudioWork], *, keep: bool = True
) -> NextWindows:
    """Append a work to each of the first slots; keep it with the chunk's frames decoded."""
    slots = torch.arange(len(works))
    found = windows.append(slots, works, context)
    if keep:
        windows.keep(slots, found, found.decoded_frames + context.chunk_frames, slots)
    return found


def heard(found: NextWindows, row: int = 0) -> list[float]:
    n = int(found.filled[row])
    assert not found.wave[row, n:].any(), "zero behind the row's audio"
    return found.wave[row, :n].tolist()


@given(CONTEXTS, st.integers(0, 12), st.integers(0, 39), st.integers(0, 3))
def test_a_window_holds_all_that_fits_in_whole_frames(
    context: BufferedContext, n_chunks: int, rest: int, spare_frames: int
) -> None:
    windows = make_windows(context, spare_frames=spare_frames)
    rest = min(rest, context.chunk_frames * FRAME)
    at = 0
    sizes = [context.chunk_frames + context.right_frames, *[context.chunk_frames] * n_chunks]
    for i, n_frames in enumerate([*(size * FRAME for size in sizes), rest]):
        found = append(windows, context, [chunk(at, n_frames)])
        at += n_frames
        width = context.total_frames * FRAME
        dropped = max(0, -(-(at - width) // FRAME)) * FRAME
        assert heard(found) == ramp(dropped, at - dropped).tolist()
        assert found.wave.shape == (1, width)
        # What is decoded ends where the chunk before ended, counted from the stream's start.
        assert int(found.decoded_frames[0]) + dropped // FRAME == i * context.chunk_frames


@given(CONTEXTS, st.lists(st.integers(0, 6), min_size=3, max_size=3))
def test_rows_at_different_fills_do_not_mix(context: BufferedContext, ages: list[int]) -> None:
    windows = make_windows(context, n_slots=3)
    first = (context.chunk_frames + context.right_frames) * FRAME
    step = context.chunk_frames * FRAME
    for slot, age in enumerate(ages):
        for i in range(age):
            at, n = (0, first) if i == 0 else (first + (i - 1) * step, step)
            slots = torch.tensor([slot])
            found = windows.append(slots, [chunk(at + 1000 * slot, n)], context)
            windows.keep(slots, found, found.decoded_frames + context.chunk_frames, slots * 0)
    works: list[AudioWork] = []
    for slot, age in enumerate(ages):
        at, n = (0, first) if age == 0 else (first + (age - 1) * step, step)
        works.append(chunk(at + 1000 * slot, n))
    found = append(windows, context, works, keep=False)
    for slot, age in enumerate(ages):
        end = first + age * step
        start = max(0, -(-(end - context.total_frames * FRAME) // FRAME)) * FRAME
        assert heard(found, slot) == ramp(start + 1000 * slot, end - start).tolist()


def test_what_is_not_kept_leaves_no_trace() -> None:
    context = BufferedContext(4, 2, 1)
    windows = make_windows(context)
    append(windows, context, [chunk(0, 30)])
    preview = Preview(np.full(7, -1.0, np.float32), 0, False, 0, 0)
    found = append(windows, context, [preview], keep=False)
    assert heard(found) == [*ramp(0, 30), *[-1.0] * 7]
    assert heard(append(windows, context, [chunk(30, 20)])) == ramp(0, 50).tolist()


def test_a_reset_slot_has_heard_nothing() -> None:
    context = BufferedContext(4, 2, 1)
    windows = make_windows(context, n_slots=2)
    append(windows, context, [chunk(0, 30), chunk(0, 30)])
    windows.reset(0)
    found = append(windows, context, [chunk(500, 30), chunk(30, 20)])
    assert heard(found, 0) == ramp(500, 30).tolist()
    assert found.decoded_frames.tolist() == [0, 2]
    assert heard(found, 1) == ramp(0, 50).tolist()
