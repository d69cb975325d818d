from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import psutil
import pytest

from siren_grpc.observe import processes
from siren_grpc.observe.metrics import CPU_TIME, OPEN_FDS, RESIDENT_MEMORY
from siren_grpc.observe.processes import family_use, memory_bytes, process_use, read_processes


@pytest.fixture
def child():
    """A process that runs until its input ends."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()
    yield process
    process.communicate()


def test_a_process_uses_memory_descriptors_and_time():
    before = process_use(os.getpid())
    with open(os.devnull):
        use = process_use(os.getpid())
    assert use.fds == before.fds + 1
    assert use.rss_bytes > use.own_bytes > 2**20
    assert use.threads >= 1
    assert use.cpu_s >= before.cpu_s > 0


def test_a_family_is_a_process_and_its_descendants(child):
    alone, family = process_use(os.getpid()), family_use(os.getpid())
    assert family.fds >= alone.fds + 3
    assert family.threads > alone.threads
    assert family_use(child.pid).fds == process_use(child.pid).fds


def test_a_descendant_that_ends_meanwhile_is_left_out(child, monkeypatch):
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [gone])
    gone = psutil.Process(child.pid)
    child.communicate()
    assert family_use(os.getpid()).fds == process_use(os.getpid()).fds


def test_a_process_that_is_gone_is_told_or_left_out(child):
    child.communicate()
    for measure in (process_use, family_use):
        with pytest.raises(psutil.NoSuchProcess):
            measure(child.pid)
    found = read_processes({"gone": child.pid, "engine": os.getpid()})
    assert set(found) == {(m.name, ("engine",)) for m in (RESIDENT_MEMORY, OPEN_FDS, CPU_TIME)}


@pytest.mark.parametrize(("limit", "n_bytes"), [(None, 1000), (600, 600), (2000, 1000)])
def test_memory_is_no_more_than_the_limit_of_the_container(
    limit: int | None, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SimpleNamespace(total=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    monkeypatch.setattr(processes, "memory_limit", lambda: limit)
    assert memory_bytes() == n_bytes
