"""How much of the machine a container's limits leave: what Linux' control groups say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

_T = TypeVar("_T", int, float)
_NO_LIMIT_BYTES = 1 << 62
"""Version 1 says the largest number of pages there is where it means no limit."""


def cpu_limit(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the process may take; None if nothing limits it.

    The least of its own control group and those around it, as far as it sees them: in a container
    mostly its own alone. What cannot be read is no limit. root: the file system's.
    Source: Linux, admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (version 1).
    """
    return _least(root, "cpu", _cores_of)


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return how many bytes of memory the process may take; None if nothing limits it.

    root and source as for `cpu_limit`: memory.max, and in version 1 memory.limit_in_bytes.
    """
    return _least(root, "memory", _bytes_of)


def _least(root: Path, controller: str, limit_of: Callable[[Path], _T | None]) -> _T | None:
    limits = (limit_of(group) for group in _groups(root, controller))
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Return the folders of the control groups that hold the process, from the mounts down."""
    mounts = root / "sys" / "fs" / "cgroup"
    paths = _memberships(root / "proc" / "self" / "cgroup", controller)
    for controllers, path in paths.items():
        folder = mounts / controllers  # version 2 is mounted at the top, and names none
        yield folder
        for part in PurePosixPath(path).parts[1:]:
            folder /= part
            yield folder


def _memberships(file: Path, controller: str) -> dict[str, str]:
    """Return the process's paths by controllers: those with this one, and version 2's ("").

    Without the namespace of its own that a container may have, a path is the host's, of which only
    the end is there, as the mount: so mounts count in any case.
    """
    paths = {"": "/", controller: "/"}
    with suppress(OSError, ValueError):
        for line in file.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or controller in controllers.split(","):
                paths[controllers] = "/" if ".." in path.split("/") else path
    return paths


def _cores_of(group: Path) -> float | None:
    """Return the cores a control group may use; None for no limit of its own."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # "max" is no number either
            text = " ".join((group / name).read_text(encoding="utf-8") for name in names)
            quota_us, period_us = map(int, text.split())
            if quota_us > 0 and period_us > 0:  # -1: no limit
                return quota_us / period_us
    return None


def _bytes_of(group: Path) -> int | None:
    """Return the bytes a control group may use; None for no limit of its own."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            n_bytes = int((group / name).read_text(encoding="utf-8"))
            if 0 < n_bytes < _NO_LIMIT_BYTES:
                return n_bytes
    return None
