"""What a GPU is doing, as the models' side reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siren_grpc.observe.instruments import Snapshot
from siren_grpc.observe.metrics import (
    DEVICE_MEMORY_RESERVED,
    DEVICE_MEMORY_TOTAL,
    DEVICE_MEMORY_USED,
    DEVICE_UTILIZATION,
)


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """One GPU now. reserved_bytes: of the used ones, this server's. utilization: 0 to 1.

    utilization is None where nobody tells.
    """

    device: str
    name: str
    used_bytes: int
    total_bytes: int
    reserved_bytes: int
    utilization: float | None


def device_metrics(devices: Sequence[DeviceUsage]) -> Snapshot:
    """Return a source's numbers; nothing for what is not known."""
    found: Snapshot = {}
    for usage in devices:
        labels = (usage.device,)
        found[DEVICE_MEMORY_USED.name, labels] = float(usage.used_bytes)
        found[DEVICE_MEMORY_TOTAL.name, labels] = float(usage.total_bytes)
        found[DEVICE_MEMORY_RESERVED.name, labels] = float(usage.reserved_bytes)
        if usage.utilization is not None:
            found[DEVICE_UTILIZATION.name, labels] = usage.utilization
    return found
