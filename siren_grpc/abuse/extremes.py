"""Extreme values for every numeric field of a message, found by its descriptor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

Path: TypeAlias = tuple[FieldDescriptor, ...]
"""A field, behind those of the messages it lies in."""

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-1, -(2**31), 2**31 - 1, 1, 65_536, -(2**15)),
    FieldDescriptor.CPPTYPE_INT64: (-1, -(2**63), 2**63 - 1, 2**53 + 1, 2**31),
    FieldDescriptor.CPPTYPE_UINT32: (2**32 - 1, 2**31),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1, 2**63),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 99, 2**31 - 1, -(2**31)),
}
_REALS = (math.nan, math.inf, -math.inf, -1.0, -0.0, 3.4e38, 1e-45)
_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)


def numeric_fields(message: Descriptor, path: Path = ()) -> Iterator[Path]:
    """Yield every number and enum of a message and of those in it."""
    for field in message.fields:
        if field.message_type is not None:
            yield from numeric_fields(field.message_type, (*path, field))
        elif values_for(field):
            yield (*path, field)


def values_for(field: FieldDescriptor) -> tuple[Any, ...]:
    """Return the extreme values that fit a field; none if it is no number."""
    if field.cpp_type in _FLOATS:
        return _REALS
    return _INTEGERS.get(field.cpp_type, ())


def is_never_valid(field: FieldDescriptor, value: Any) -> bool:
    """Return whether no field of the protocol has a meaning for such a value."""
    if field.cpp_type in _FLOATS:
        return not math.isfinite(value) or value < 0
    return field.cpp_type == FieldDescriptor.CPPTYPE_ENUM or value < 0


def put(message: Message, path: Path, value: Any) -> None:
    """Set a field, making the messages it lies in."""
    *outer, last = path
    at: Any = message
    for field in outer:
        at = getattr(at, field.name)
        if field.is_repeated:
            at = at.add()
    if last.is_repeated:
        getattr(at, last.name).append(value)
    else:
        setattr(at, last.name, value)
