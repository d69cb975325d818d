"""What a churn's sessions do is drawn as asked for."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from siren_grpc.soak.session_plan import Kind, draw

_CLIPS = (bytes(1600), bytes(5120))
_N = 4000


def _kinds(cancelled_share: float) -> Counter[Kind]:
    random = Random(1)
    return Counter(draw(random, _CLIPS, cancelled_share=cancelled_share).kind for _ in range(_N))


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_that_share_of_the_sessions_is_cancelled(share: float) -> None:
    kinds = _kinds(share)
    n_cancelled = kinds[Kind.CANCELLED] + kinds[Kind.LEFT]
    assert n_cancelled == pytest.approx(share * _N, abs=0.02 * _N if 0 < share < 1 else 0)


def test_every_kind_comes() -> None:
    assert set(_kinds(0.1)) == set(Kind)


def test_the_same_seed_draws_the_same_sessions() -> None:
    first, second = (
        [draw(random, _CLIPS, cancelled_share=0.1) for _ in range(50)]
        for random in (Random(7), Random(7))
    )
    assert first == second


def test_a_session_is_cut_within_its_audio() -> None:
    random = Random(2)
    for _ in range(_N):
        plan = draw(random, _CLIPS, cancelled_share=0.5)
        assert 0 <= plan.cut <= sum(len(_CLIPS[clip]) for clip in plan.clips)
