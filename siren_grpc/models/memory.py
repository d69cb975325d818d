"""Telling that a device has no memory left from other errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from siren_grpc.domain.ports import OutOfMemory

_SIGNS = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""What the messages say of torch's allocator for CPUs, of CUDA, and of its libraries."""


@contextmanager
def telling_out_of_memory() -> Iterator[None]:
    """Raise OutOfMemory for what torch and CUDA raise in the body when there is no memory."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if any(sign in str(error) for sign in _SIGNS):
            raise OutOfMemory(str(error)) from error
        raise
