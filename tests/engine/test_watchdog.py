from __future__ import annotations

import threading
import time

from siren_grpc.engine.heartbeat import Heartbeat
from siren_grpc.engine.side_worker import SideWorker
from siren_grpc.engine.watchdog import Silence, Verdict, Watchdog


def verdicts(watchdog: Watchdog, since: float, looks: list[float]) -> list[Verdict]:
    return [watchdog.look([since], now) for now in looks]


def test_a_step_that_takes_too_long_is_stuck_and_then_hopeless() -> None:
    watchdog = Watchdog(stuck_s=10, exit_s=5)
    found = verdicts(watchdog, 100.0, [100.0 + i for i in range(17)])
    assert found.index(Verdict.STUCK) == 10
    assert found.index(Verdict.HOPELESS) == 15


def test_steps_that_end_are_well_however_many_follow() -> None:
    watchdog = Watchdog(stuck_s=10, exit_s=5)
    for now in range(1000):
        assert watchdog.look([float(now // 9 * 9), now - 0.5], now) is Verdict.WELL
    assert watchdog.look([], 1001) is Verdict.WELL


def test_time_that_was_not_watched_does_not_count() -> None:
    watchdog = Watchdog(stuck_s=10, exit_s=5)
    verdicts(watchdog, 100.0, [100.0, 101.0])
    assert watchdog.look([100.0], 5000.0) is Verdict.WELL, "the process had been stopped"
    assert watchdog.look([100.0], 5002.0) is Verdict.WELL
    assert verdicts(watchdog, 100.0, [5002.0 + i for i in range(6)])[-1] is Verdict.STUCK


def test_a_step_that_ends_after_all_is_well() -> None:
    watchdog = Watchdog(stuck_s=2, exit_s=100)
    assert verdicts(watchdog, 0.0, [0.0, 1.0, 2.0, 3.0])[-1] is Verdict.STUCK
    assert watchdog.look([3.5], 4.0) is Verdict.WELL


def test_silence_is_counted_in_looks() -> None:
    silence = Silence(silent_s=3, exit_s=2)
    assert [silence.look() for _ in range(2)] == [Verdict.WELL] * 2
    silence.hear()
    found = [silence.look() for _ in range(6)]
    assert found[1:5] == [Verdict.WELL, Verdict.STUCK, Verdict.STUCK, Verdict.HOPELESS]


def test_each_thread_has_its_own_stamp() -> None:
    heartbeat = Heartbeat()
    heartbeat.beat()
    other = threading.Thread(target=heartbeat.beat)
    other.start()
    other.join()
    first, second = sorted(heartbeat.busy_since())
    heartbeat.rest()
    assert heartbeat.busy_since() == (second,)
    assert first <= second


def test_a_worker_beside_the_steps_is_watched_while_it_works() -> None:
    heartbeat = Heartbeat()
    worker = SideWorker("test", heartbeat)
    worker.submit(lambda: 1 / 0)
    gate, is_working = threading.Event(), threading.Event()
    worker.submit(lambda: (is_working.set(), gate.wait(60)))
    assert is_working.wait(60), "what went wrong before is no concern of the next"
    assert len(heartbeat.busy_since()) == 1
    gate.set()
    until = time.monotonic() + 60
    while heartbeat.busy_since():
        assert time.monotonic() < until
        time.sleep(0.001)
    worker.stop()
