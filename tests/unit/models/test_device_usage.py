from __future__ import annotations

import pytest
import torch

from siren_grpc.models.device_usage import read_devices
from siren_grpc.observe.device import DeviceUsage, device_metrics
from siren_grpc.observe.metrics import DEVICE_MEMORY_USED, DEVICE_UTILIZATION


def test_without_a_gpu_there_is_nothing_and_cuda_is_not_started() -> None:
    if torch.cuda.is_initialized():
        pytest.skip("another test has started CUDA")
    assert read_devices() == []
    assert not torch.cuda.is_initialized()


def test_what_is_not_known_is_absent() -> None:
    usage = DeviceUsage("cuda:0", "some GPU", 10, 100, 5, None)
    found = device_metrics([usage])
    assert found[DEVICE_MEMORY_USED.name, ("cuda:0",)] == 10
    assert (DEVICE_UTILIZATION.name, ("cuda:0",)) not in found


@pytest.mark.gpu
def test_memory_that_is_taken_shows() -> None:
    tensor = torch.zeros(64 << 20, dtype=torch.uint8, device="cuda")
    (usage,) = read_devices()
    assert usage.device == "cuda:0"
    assert usage.name == torch.cuda.get_device_name(0)
    assert tensor.nbytes <= usage.reserved_bytes <= usage.used_bytes <= usage.total_bytes
    assert usage.utilization is None or 0 <= usage.utilization <= 1
