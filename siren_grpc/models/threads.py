"""What torch keeps thread by thread: how many cores a thread's operations use, and which GPU."""

from __future__ import annotations

import torch


def use_threads(count: int | None) -> None:
    """Let torch's operations of the calling thread use so many threads; None leaves it as it is.

    The number is OpenMP's and belongs to the thread that sets it: workers that step side by side
    must each say it.
    """
    if count is not None and torch.get_num_threads() != count:
        torch.set_num_threads(count)


def use_device(device: torch.device) -> None:
    """Make a GPU the calling thread's own; nothing for a CPU.

    Torch follows its tensors to their GPU, but the streams that NeMo makes and the kernels that
    Triton starts go to the thread's, which is the first GPU unless it says otherwise.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
