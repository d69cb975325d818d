"""CPU threads of torch, thread by thread."""

from __future__ import annotations

import torch


def use_threads(count: int | None) -> None:
    """Let torch's operations of the calling thread use so many threads; None leaves it as it is.

    The number is OpenMP's and belongs to the thread that sets it: workers that step side by side
    must each say it.
    """
    if count is not None and torch.get_num_threads() != count:
        torch.set_num_threads(count)
