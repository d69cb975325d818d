"""How much of the processors a container's limit leaves: what Linux' control groups say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath


def cpu_limit(root: Path = Path("/")) -> float | None:
    """Return how many cores' time the process may take; None if nothing limits it.

    The least of its own control group and those around it, as far as it sees them: in a container
    mostly its own alone. What cannot be read is no limit. root: the file system's.
    Source: Linux, admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst (version 1).
    """
    limits = (_limit_of(group) for group in _groups(root))
    return min((limit for limit in limits if limit is not None), default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Return the folders of the control groups that hold the process, from the mounts down."""
    mounts = root / "sys" / "fs" / "cgroup"
    for controllers, path in _memberships(root / "proc" / "self" / "cgroup").items():
        folder = mounts / controllers  # version 2 is mounted at the top, and names none
        yield folder
        for part in PurePosixPath(path).parts[1:]:
            folder /= part
            yield folder


def _memberships(file: Path) -> dict[str, str]:
    """Return the process's paths by controllers, of those with `cpu` and of version 2 ("").

    Without the namespace of its own that a container may have, a path is the host's, of which only
    the end is there, as the mount: so mounts count in any case.
    """
    paths = {"": "/", "cpu": "/"}
    with suppress(OSError, ValueError):
        for line in file.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "" or "cpu" in controllers.split(","):
                paths[controllers] = "/" if ".." in path.split("/") else path
    return paths


def _limit_of(group: Path) -> float | None:
    """Return the cores a control group may use; None for no limit of its own."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # "max" is no number either
            text = " ".join((group / name).read_text(encoding="utf-8") for name in names)
            quota_us, period_us = map(int, text.split())
            if quota_us > 0 and period_us > 0:  # -1: no limit
                return quota_us / period_us
    return None
