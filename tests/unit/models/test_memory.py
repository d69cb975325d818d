"""No memory left is told from other failures of a step."""

from __future__ import annotations

import pytest
import torch

from siren_grpc.domain.ports import OutOfMemory
from siren_grpc.models.memory import telling_out_of_memory


def test_what_torch_raises_for_too_large_a_tensor_is_out_of_memory() -> None:
    with pytest.raises(OutOfMemory), telling_out_of_memory():
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    ],
)
def test_what_cuda_and_its_libraries_raise_is_out_of_memory(error: RuntimeError) -> None:
    with pytest.raises(OutOfMemory, match=r"memory|ALLOC"), telling_out_of_memory():
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shape") as caught, telling_out_of_memory():
        torch.zeros(2).view(3)
    assert not isinstance(caught.value, OutOfMemory)
