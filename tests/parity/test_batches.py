"""Any batch mates: sessions that join and leave at random get what NeMo makes of each alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from random import Random

import pytest

from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.step import StepResult
from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path, load
from tests.parity.conftest import Pair
from tests.parity.random_batches import (
    assert_mates_change_nothing,
    recordings,
    run,
    stepped_alone,
)
from tests.parity.siren_path import transcript_of
from tests.support.nemo_reference import NemoReference

pytestmark = pytest.mark.parity

RNNT, CTC = DecoderKind.RNNT, DecoderKind.CTC
N_SLOTS = 32
LOOK_AHEADS = {
    ("nemotron", RNNT): (1, 2, 7, 14),
    ("hybrid", RNNT): (1, 2, 7, 14),
    ("hybrid", CTC): (1, 2, 7, 14),
    ("ctc", CTC): (2, 7),
    ("embedded", RNNT): (2, 7, 14),
    ("embedded", CTC): (2, 7, 14),
}
EVERY_BATCH = {
    ("nemotron", RNNT, 7),
    ("hybrid", RNNT, 2),
    ("hybrid", CTC, 7),
    ("ctc", CTC, 2),
    ("embedded", RNNT, 7),
    ("embedded", CTC, 7),
}
"""Look-aheads that run at every batch size each time; the others do so among the long tests."""


def cases() -> list[object]:
    """Return each decoder of each model at every look-ahead and batch size."""
    return [
        pytest.param(
            name,
            kind,
            chunk_frames,
            batch,
            marks=()
            if batch == 7 or (name, kind, chunk_frames) in EVERY_BATCH
            else (pytest.mark.long,),
        )
        for (name, kind), look_aheads in LOOK_AHEADS.items()
        for chunk_frames in look_aheads
        for batch in (1, 2, 7, 32)
    ]


@pytest.fixture(scope="module")
def wide_pair_of(pair_of: Callable[..., Pair]) -> Callable[[str], Pair]:
    """Return pairs that hold 32 sessions, by the name of their builder or `embedded`."""

    @cache
    def make(name: str) -> Pair:
        if name == "embedded":
            path = checkpoint_path(EMBEDDED_MODEL)
            assert path is not None
            nemo = NemoReference(path)
        else:
            nemo, path = pair_of(name).nemo, pair_of.path_of(name)  # type: ignore[attr-defined]
        return Pair(nemo, load(str(path), device="cpu", n_slots=N_SLOTS, max_batch=N_SLOTS))

    return make


@pytest.mark.parametrize(("name", "kind", "chunk_frames", "batch"), cases())
def test_joining_and_leaving_at_random(
    wide_pair_of: Callable[[str], Pair],
    name: str,
    kind: DecoderKind,
    chunk_frames: int,
    batch: int,
) -> None:
    pair, lane = wide_pair_of(name), Lane(chunk_frames, kind)
    assert pair.siren.info.look_aheads == LOOK_AHEADS[name, kind]
    assert_mates_change_nothing(
        pair.siren,
        lane,
        recordings(name, chunk_frames),
        lambda which: stepped_alone(pair.nemo, name, which, lane),
        batch=batch,
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("nemotron", RNNT), ("hybrid", CTC), ("embedded", RNNT)]
)
def test_several_steps_at_once(
    wide_pair_of: Callable[[str], Pair], name: str, kind: DecoderKind
) -> None:
    """Workers step one model side by side: nothing of one step is seen in another."""
    pair = wide_pair_of(name)
    lane = Lane(7, kind)
    works = [[(i + j) % 12 for j in range(6)] for i in range(4)]

    def work(i: int) -> list[tuple[int, list[StepResult]]]:
        slots = range(8 * i, 8 * i + 8)
        sounds_of = recordings(name, 7)
        return run(pair.siren, lane, list(works[i]), sounds_of, Random(i), 3 + i, slots)

    with ThreadPoolExecutor(4) as pool:
        heard = [found for part in pool.map(work, range(4)) for found in part]
    assert len(heard) == 24
    for which, results in heard:
        ours = transcript_of(pair.siren.info, results)
        theirs = stepped_alone(pair.nemo, name, which, lane)
        assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames), which
