from __future__ import annotations

import asyncio

import pytest

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.principal import ANONYMOUS, Principal
from siren_grpc.server.parking import Parking

LONG_S = 600.0


class Parked:
    """Something with a slot, or without."""

    def __init__(self, *, holds_session: bool = True) -> None:
        self.holds_session = holds_session
        self.closed = asyncio.Event()

        self.principal = ANONYMOUS

    def close(self) -> None:
        self.closed.set()


def fill(parking: Parking[Parked], *names: str, holds_session: bool = True) -> list[Parked]:
    streams = []
    for name in names:
        streams.append(Parked(holds_session=holds_session))
        parking.enter(name, streams[-1])
    return streams


async def test_a_stream_is_found_by_its_token_with_a_call_and_without():
    parking: Parking[Parked] = Parking(grace_s=LONG_S, max_parked=2)
    (stream,) = fill(parking, "a")
    assert parking.claim("a") is stream
    parking.park("a")
    assert parking.n_parked == 1
    assert parking.claim("a") is stream
    assert parking.n_parked == 0
    parking.close()


async def test_nobody_comes_back_for_a_stream_in_time():
    parking: Parking[Parked] = Parking(grace_s=0.01, max_parked=2)
    (stream,) = fill(parking, "a")
    parking.park("a")
    await asyncio.wait_for(stream.closed.wait(), 20)
    with pytest.raises(InvalidConfig) as error:
        parking.claim("a")
    assert error.value.violations[0].field == "resume.token"


async def test_the_oldest_of_too_many_goes_and_finished_ones_do_not_count():
    parking: Parking[Parked] = Parking(grace_s=LONG_S, max_parked=2)
    finished = fill(parking, "x", "y", "z", holds_session=False)
    streams = fill(parking, "a", "b", "c")
    for name in ("x", "y", "z", "a", "b", "c"):
        parking.park(name)
    assert [stream.closed.is_set() for stream in streams] == [True, False, False]
    assert not any(stream.closed.is_set() for stream in finished)
    parking.close()


async def test_a_stopping_server_keeps_nothing():
    parking: Parking[Parked] = Parking(grace_s=LONG_S, max_parked=2)
    parked, running = fill(parking, "a", "b")
    parking.park("a")
    parking.close()
    assert parked.closed.is_set()
    assert not running.closed.is_set()
    parking.park("b")
    assert running.closed.is_set()
    assert not parking.keeps_streams


async def test_tokens_are_long_and_never_the_same():
    tokens = {Parking.make_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 24


async def test_only_whose_stream_it_is_may_go_on_with_it():
    parking: Parking[Parked] = Parking(grace_s=LONG_S, max_parked=2)
    (stream,) = fill(parking, "a")
    stream.principal = Principal("phone")
    parking.park("a")
    for other in (ANONYMOUS, Principal("laptop")):
        with pytest.raises(InvalidConfig) as stolen:
            parking.claim("a", other)
        with pytest.raises(InvalidConfig) as unknown:
            parking.claim("b", other)
        assert stolen.value.message == unknown.value.message
    assert parking.n_parked == 1, "a wrong claim does not take it from its owner"
    assert parking.claim("a", Principal("phone")) is stream
    parking.close()


async def test_a_stream_that_has_come_to_its_end_is_kept_and_counts_no_more():
    parking: Parking[Parked] = Parking(grace_s=LONG_S, max_parked=1)
    (stream,) = fill(parking, "a")
    parking.settle("a")  # with a call it is not parked
    assert parking.n_parked == 0
    parking.park("a")
    assert parking.parked == (stream,)
    stream.holds_session = False
    parking.settle("a")
    assert parking.n_parked == 0
    (other,) = fill(parking, "b")
    parking.park("b")
    assert not stream.closed.is_set()
    assert parking.claim("a") is stream
    parking.close()
    assert other.closed.is_set()
