"""What the GPUs of this process are doing: memory from CUDA, utilisation from NVML."""

from __future__ import annotations

import logging

import torch

from siren_grpc.observe.device import DeviceUsage

_log = logging.getLogger(__name__)


def read_devices() -> list[DeviceUsage]:
    """Return the GPUs this process has memory on; none without CUDA. Takes about a millisecond.

    Call it when the models are loaded: it must not be what starts CUDA.
    """
    if not torch.cuda.is_initialized():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        reserved = torch.cuda.memory_reserved(index)
        if reserved == 0:
            continue
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        utilization = _utilization(index)
        found.append(DeviceUsage(f"cuda:{index}", name, total - free, total, reserved, utilization))
    return found


def _utilization(index: int) -> float | None:
    """Return what NVML says, None where it does not: torch finds the device by its UUID."""
    try:
        return float(torch.cuda.utilization(index)) / 100
    except Exception as error:  # no pynvml, no driver's library, no permission, a MIG device
        _log.debug("no utilisation of cuda:%d: %s", index, error)
        return None
