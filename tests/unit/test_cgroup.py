"""The limits of control groups, read from trees such as Linux shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from siren_grpc.cgroup import cpu_limit, memory_limit

FS = "sys/fs/cgroup"
SELF = "proc/self/cgroup"
QUOTA, PERIOD = "cpu.cfs_quota_us", "cpu.cfs_period_us"

TREES: dict[str, tuple[dict[str, str], float | None]] = {
    "no control groups": ({}, None),
    "docker --cpus 1.5": ({SELF: "0::/\n", f"{FS}/cpu.max": "150000 100000\n"}, 1.5),
    "no limit": ({SELF: "0::/\n", f"{FS}/cpu.max": "max 100000\n"}, None),
    "a path that is the host's": (
        {SELF: "0::/kubepods/pod1/box\n", f"{FS}/cpu.max": "400000 100000\n"},
        4.0,
    ),
    "a path that leads out": (
        {SELF: "0::/../../box\n", f"{FS}/cpu.max": "400000 100000\n", "box/cpu.max": "1 100\n"},
        4.0,
    ),
    "nothing said of the process": ({f"{FS}/cpu.max": "400000 100000\n"}, 4.0),
    "the group's own": (
        {
            SELF: "0::/system.slice/siren.service\n",
            f"{FS}/system.slice/cpu.max": "max 100000\n",
            f"{FS}/system.slice/siren.service/cpu.max": "200000 100000\n",
        },
        2.0,
    ),
    "the parent's, which is less": (
        {
            SELF: "0::/pod/box\n",
            f"{FS}/pod/cpu.max": "50000 100000\n",
            f"{FS}/pod/box/cpu.max": "200000 100000\n",
            f"{FS}/other/cpu.max": "1000 100000\n",
        },
        0.5,
    ),
    "version 1": (
        {
            SELF: "4:memory:/box\n3:cpu,cpuacct:/docker/box\n1:name=systemd:/box\n",
            f"{FS}/cpu,cpuacct/{QUOTA}": "-1\n",
            f"{FS}/cpu,cpuacct/{PERIOD}": "100000\n",
            f"{FS}/cpu,cpuacct/docker/box/{QUOTA}": "300000\n",
            f"{FS}/cpu,cpuacct/docker/box/{PERIOD}": "100000\n",
        },
        3.0,
    ),
    "version 1 in a container": (
        {
            SELF: "3:cpu,cpuacct:/docker/box\n0::/\n",
            f"{FS}/cpu/{QUOTA}": "250000\n",
            f"{FS}/cpu/{PERIOD}": "50000\n",
        },
        5.0,
    ),
    "version 1 without a limit": (
        {SELF: "3:cpu:/\n", f"{FS}/cpu/{QUOTA}": "-1\n", f"{FS}/cpu/{PERIOD}": "100000\n"},
        None,
    ),
    "a quota without its period": ({SELF: "3:cpu:/\n", f"{FS}/cpu/{QUOTA}": "100000\n"}, None),
    "nonsense": ({SELF: "cpu\n", f"{FS}/cpu.max": "much\n"}, None),
    "a period of nothing": ({SELF: "0::/\n", f"{FS}/cpu.max": "100000 0\n"}, None),
}


@pytest.mark.parametrize("tree", TREES)
def test_the_least_limit_counts(tree: str, tmp_path: Path) -> None:
    files, limit = TREES[tree]
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    assert cpu_limit(tmp_path) == limit


def test_what_cannot_be_read_is_no_limit(tmp_path: Path) -> None:
    (tmp_path / SELF).mkdir(parents=True)
    (tmp_path / FS / "cpu.max").mkdir(parents=True)

    assert cpu_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({SELF: "0::/\n", f"{FS}/memory.max": "max\n"}, None),
        ({SELF: "0::/\n", f"{FS}/memory.max": "4294967296\n"}, 1 << 32),
        (
            {
                SELF: "0::/pod/box\n",
                f"{FS}/pod/memory.max": "1000\n",
                f"{FS}/pod/box/memory.max": "2000\n",
            },
            1000,
        ),
        (
            {
                SELF: "4:memory:/box\n3:cpu:/other\n",
                f"{FS}/memory/memory.limit_in_bytes": "9223372036854771712\n",
                f"{FS}/memory/box/memory.limit_in_bytes": "5000\n",
                f"{FS}/cpu/other/memory.limit_in_bytes": "1\n",
            },
            5000,
        ),
    ],
)
def test_memory_has_limits_of_its_own(
    files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    assert memory_limit(tmp_path) == limit
