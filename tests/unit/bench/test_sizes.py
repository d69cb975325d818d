from __future__ import annotations

from collections import deque

import pytest
import torch

from siren_grpc.bench.sizes import object_bytes, tensor_bytes


class Holder:
    __slots__ = ("store",)

    def __init__(self, store: object) -> None:
        self.store = store


def test_tensors_are_counted_once_wherever_they_are_held() -> None:
    tensor = torch.zeros(10, dtype=torch.float32)
    held = Holder({"a": [tensor, tensor[2:4]], "b": deque([torch.zeros(3, dtype=torch.int64)])})
    assert tensor_bytes(held) == 40 + 24


def test_networks_are_left_out() -> None:
    held = Holder((torch.nn.Linear(8, 8), torch.zeros(1)))
    assert tensor_bytes(held) == 4


def test_objects_grow_with_what_they_hold_and_shared_ones_do_not_count() -> None:
    shared = "x" * 10_000
    assert object_bytes(Holder(["a", shared]), (shared,)) == pytest.approx(200, abs=150)
    assert object_bytes(Holder(["a" * 5000]), ()) > 5000
