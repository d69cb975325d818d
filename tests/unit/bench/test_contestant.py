from __future__ import annotations

from siren_grpc.bench.contestant import Streams, Timings, turn_order


class Counter:
    name = "counter"

    def __init__(self) -> None:
        self.n_steps = 0

    def open(self, streams: Streams) -> None:
        self.n_steps = 0

    def step(self) -> None:
        self.n_steps += 1

    def finish(self) -> list[str]:
        return []

    def session_bytes(self) -> int | None:
        return None


def test_every_round_begins_with_the_next() -> None:
    assert [turn_order("abc", number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_a_turn_notes_each_step_and_their_mean() -> None:
    timings, counter = Timings(), Counter()
    timings.take_turn(counter, 3)
    timings.take_turn(counter, 2)
    assert counter.n_steps == len(timings.wall_s) == len(timings.cpu_s) == 5
    assert timings.turns_s == [sum(timings.wall_s[:3]) / 3, sum(timings.wall_s[3:]) / 2]
