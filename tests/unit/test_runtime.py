"""What a process does before it serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from siren_grpc.runtime import importing_for_good


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_imported_is_left_out_of_later_collections() -> None:
    n_before = gc.get_freeze_count()
    with importing_for_good():
        assert not gc.isenabled()
        kept = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= n_before + len(kept)


def test_a_failed_import_leaves_collections_on() -> None:
    with pytest.raises(ImportError), importing_for_good():
        raise ImportError
    assert gc.isenabled()


def test_who_collects_by_hand_still_does() -> None:
    gc.disable()
    with importing_for_good():
        pass
    assert not gc.isenabled()
