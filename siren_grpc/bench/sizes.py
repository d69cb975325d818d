"""How large the state is that an object keeps: tensors and Python objects it reaches."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType, ModuleType

import torch


def tensor_bytes(root: object) -> int:
    """Return the bytes of all tensors an object reaches, those of networks left out."""
    storages: dict[int, int] = {}
    for item in _reachable(root, lambda item: isinstance(item, torch.nn.Module)):
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def object_bytes(root: object, shared: tuple[object, ...]) -> int:
    """Return the bytes of the Python objects an object reaches, without the `shared` ones."""
    known = {id(item) for item in shared}
    return sum(sys.getsizeof(item) for item in _reachable(root, lambda item: id(item) in known))


def _reachable(root: object, is_left_out: Callable[[object], bool]) -> Iterator[object]:
    """Yield everything an object reaches through attributes and containers, each once."""
    seen: set[int] = set()
    pending = [root]
    while pending:
        item = pending.pop()
        if id(item) in seen or is_left_out(item):
            continue
        seen.add(id(item))
        if isinstance(item, (type, ModuleType, FunctionType, MethodType)):
            continue
        yield item
        pending.extend(_children(item))


def _children(item: object) -> list[object]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, torch.Tensor):
        return []
    children: list[object] = []
    if isinstance(item, (list, tuple, set, frozenset, deque)):
        children.extend(item)
    children.extend(getattr(item, "__dict__", {}).values())
    for kind in type(item).__mro__:
        names = kind.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            child = getattr(item, name, None)
            if child is not None:
                children.append(child)
    return children
