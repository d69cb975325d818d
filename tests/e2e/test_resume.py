"""Streams whose connection breaks: resumed where they were, or sent again to another server."""

from __future__ import annotations

import asyncio
import itertools
import queue
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator

import grpc
import pytest
from siren.v1 import speech_pb2 as pb

from siren_client import (
    AsyncSirenClient,
    Control,
    Endpointing,
    Final,
    Partial,
    Reconnect,
    Result,
    Resumed,
    SirenClient,
    SirenError,
    Update,
)
from tests.support.audio import spoken_digits
from tests.support.client_results import assert_promises, essence
from tests.support.faulty_proxy import FaultyProxy
from tests.support.server import SirenServer, serving
from tests.support.wire import END, FINALIZE, Wire, audio, config, every, failure

pytestmark = pytest.mark.e2e

HERTZ = 16_000
GAP = bytes(2 * HERTZ * 6 // 5)
SPOKEN = b"".join(r.pcm + GAP for r in spoken_digits() if r.sample_rate_hertz == HERTZ)
ITEMS = list(every(3200, SPOKEN))
SLOTS = 16
WAIT_S = 60
PATIENT = Reconnect(deadline_s=WAIT_S, first_delay_s=0.05, max_delay_s=0.5)

Item = bytes | Control | Update
CASES: dict[str, tuple[list[Item], dict]] = {
    "one utterance": (ITEMS, {}),
    "soft endpoints": (ITEMS, {"endpointing": Endpointing(min_silence_ms=500)}),
    "hard endpoints": (ITEMS, {"endpointing": Endpointing(min_silence_ms=500, hard=True)}),
    "controls": (
        [
            *(*ITEMS[:20], Control.FINALIZE, *ITEMS[20:33], Control.RESET, *ITEMS[33:40]),
            Update(endpointing=Endpointing(min_silence_ms=500), partial_interval_ms=200),
            *(*ITEMS[40:70], Control.FINALIZE, Control.FINALIZE, *ITEMS[70:]),
        ],
        {},
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[SirenServer]:
    """Two front ends: the other one, which a new connection may reach, knows no token."""
    with serving(
        *("--max-sessions", str(SLOTS), "--resume-grace-s", "1", "--front-ends", "2")
    ) as server:
        yield server


@pytest.fixture
def proxy(server: SirenServer) -> Iterator[FaultyProxy]:
    proxy = FaultyProxy(server.target)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def unbroken(server: SirenServer) -> dict[str, list[Result]]:
    with SirenClient(server.target) as client:
        return {
            name: list(client.stream(iter(items), **options))
            for name, (items, options) in CASES.items()
        }


@pytest.fixture
def small() -> Iterator[str]:
    """A server with room for two, which keeps a broken stream's place for long."""
    with serving("--max-sessions=2", "--resume-grace-s=60") as server:
        yield server.target


def slow() -> Iterator[bytes]:
    for item in itertools.cycle(ITEMS):
        yield item
        time.sleep(0.02)


def failing() -> Iterator[bytes]:
    yield from itertools.islice(slow(), 20)
    raise OSError("microphone unplugged")


def fits(target: str) -> None:
    """Fail unless the server has room for a stream at once, for a client that does not wait."""
    with SirenClient(target) as client:
        assert list(client.stream(iter(ITEMS[:3]), reconnect=None))


def test_a_stream_that_is_left_gives_its_place_back(small):
    with SirenClient(small) as client:
        for _ in range(4):
            for result in client.stream(slow()):
                if isinstance(result, Partial):
                    break
        for _ in range(3):
            with pytest.raises(OSError, match="unplugged"):
                list(client.stream(failing()))
        for _ in range(3):
            with pytest.raises(SirenError, match="DEADLINE_EXCEEDED"):
                list(client.stream(slow(), timeout_s=0.5))
        held = [client.stream(slow()) for _ in range(2)]
        for stream in held:
            next(stream)
    fits(small)


async def test_streams_open_when_an_asyncio_client_closes_give_their_places_back(small):
    async def audio():
        for item in itertools.cycle(ITEMS):
            yield item
            await asyncio.sleep(0.02)

    client = AsyncSirenClient(small)
    held = [client.stream(audio()) for _ in range(2)]
    for stream in held:
        await anext(stream)
    await client.close()
    await asyncio.to_thread(fits, small)
    for stream in held:
        await stream.aclose()


def breaks_of(proxy: FaultyProxy) -> list[Callable[[], object]]:
    return [
        proxy.cut,
        lambda: proxy.cut(with_reset=True),
        lambda: proxy.half_close(to_client=True),
        lambda: proxy.half_close(to_client=False),
        proxy.go_away,
        lambda: proxy.reset_streams(2),  # INTERNAL_ERROR
        lambda: proxy.reset_streams(8),  # CANCEL
    ]


class Breaker:
    """Breaks connections before random items of the audio and behind random results."""

    def __init__(self, proxy: FaultyProxy, rng: random.Random, *, n_breaks: int) -> None:
        self._kinds = breaks_of(proxy)
        self._rng = rng
        self._left = n_breaks
        self.n_breaks = 0

    def audio(self, items: list[Item]) -> Iterator[Item]:
        places = {self._rng.randrange(len(items)) for _ in range(self._left)}
        for i, item in enumerate(items):
            if i in places:
                self.strike()
            yield item

    def strike(self) -> None:
        if self._left and self._rng.choice(self._kinds)():
            self._left -= 1
            self.n_breaks += 1

    def hear(self) -> None:
        if self._rng.random() < 0.1:
            self.strike()


def run_broken(proxy: FaultyProxy, case: str, breaker: Breaker) -> list[Result]:
    items, options = CASES[case]
    results = []
    with SirenClient(proxy.target) as client:
        for result in client.stream(breaker.audio(items), reconnect=PATIENT, **options):
            results.append(result)
            breaker.hear()
    return results


async def run_broken_async(proxy: FaultyProxy, case: str, breaker: Breaker) -> list[Result]:
    items, options = CASES[case]

    async def audio() -> Iterator[Item]:
        for item in breaker.audio(items):
            yield item
            await asyncio.sleep(0)

    results = []
    async with AsyncSirenClient(proxy.target) as client:
        async for result in client.stream(audio(), reconnect=PATIENT, **options):
            results.append(result)
            breaker.hear()
    return results


def break_streams(proxy, unbroken, rng: random.Random, *, n_breaks: int) -> list[Result]:
    """Run streams until so many connections broke; each must read as an unbroken one."""
    done, everything = 0, []
    for case, runs in zip(itertools.cycle(CASES), itertools.cycle("sa"), strict=False):
        breaker = Breaker(proxy, rng, n_breaks=min(4, n_breaks - done))
        if runs == "s":
            results = run_broken(proxy, case, breaker)
        else:
            results = asyncio.run(run_broken_async(proxy, case, breaker))
        assert essence(results) == essence(unbroken[case]), case
        assert_promises(results)
        everything += results
        done += breaker.n_breaks
        if done >= n_breaks:
            return everything
    raise AssertionError("never reached")


def open_stream(client: SirenClient, audio: Iterator[bytes]) -> Iterator[Result] | None:
    results = client.stream(audio, reconnect=None)
    try:
        next(results)
    except SirenError as error:
        if error.reason != "OVERLOADED":
            raise
        return None
    return results


def assert_no_slot_is_lost(server: SirenServer) -> None:
    """As many streams as there are slots run at once, within the grace time and a little."""
    goes, over = threading.Event(), threading.Event()
    opened = threading.Barrier(SLOTS + 1)

    def hold() -> None:
        def audio() -> Iterator[bytes]:
            yield ITEMS[0]
            goes.wait(WAIT_S)

        with SirenClient(server.target) as client:
            results = None
            while results is None and not over.is_set():
                results = open_stream(client, audio())
            opened.wait(WAIT_S)
            assert results is not None
            assert isinstance(list(results)[-1], Final)

    threads = [threading.Thread(target=hold) for _ in range(SLOTS)]
    for thread in threads:
        thread.start()
    try:
        opened.wait(WAIT_S)
    finally:
        over.set()
        goes.set()
        for thread in threads:
            thread.join()


def test_a_broken_stream_reads_as_an_unbroken_one(server, proxy, unbroken):
    results = break_streams(proxy, unbroken, random.Random(7), n_breaks=24)
    # Both ways are taken: the token where the server knows it, the audio where it does not.
    assert {r.is_replay for r in results if isinstance(r, Resumed)} == {True, False}
    assert_no_slot_is_lost(server)


@pytest.mark.slow
@pytest.mark.parametrize("n_breaks", [60, pytest.param(200, marks=pytest.mark.long)])
def test_many_breaks(server, proxy, unbroken, n_breaks):
    break_streams(proxy, unbroken, random.Random(11), n_breaks=n_breaks)
    assert_no_slot_is_lost(server)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
@pytest.mark.parametrize(
    "case", ["soft endpoints", pytest.param("controls", marks=pytest.mark.long)]
)
def test_a_stream_outlives_its_server(server, unbroken, number, case):
    """The other replica hears again what the first one had not finished, and no more of it."""
    first = SirenServer("--shutdown-grace-s", "0", "--front-ends", "1")
    try:
        proxy = FaultyProxy(first.wait_serving())
        items, options = CASES[case]
        heard = threading.Event()
        results = []

        def audio() -> Iterator[Item]:
            for i, item in enumerate(items):
                if i == 52:
                    assert heard.wait(WAIT_S)
                    proxy.upstream = server.target
                    first.signal(number)
                yield item

        with SirenClient(proxy.target) as client:
            for result in client.stream(audio(), reconnect=PATIENT, **options):
                results.append(result)
                if isinstance(result, Final):
                    heard.set()
    finally:
        first.close()
    proxy.close()
    assert essence(results) == essence(unbroken[case])
    assert_promises(results)
    assert [r.is_replay for r in results if isinstance(r, Resumed)][-1] is True


def test_a_server_that_is_not_replaced_has_the_last_word(unbroken):
    """Its final for what it heard is shown when nobody else can hear the rest."""
    first = SirenServer("--shutdown-grace-s", "0", "--front-ends", "1")
    hurried = Reconnect(deadline_s=0.5)
    heard = threading.Event()
    results: list[Result] = []
    try:

        def audio() -> Iterator[Item]:
            yield from ITEMS[:30]
            assert heard.wait(WAIT_S)
            first.signal(signal.SIGTERM)
            threading.Event().wait(WAIT_S)

        def listen(client: SirenClient) -> None:
            for result in client.stream(audio(), reconnect=hurried):
                results.append(result)
                if isinstance(result, Partial):
                    heard.set()

        with SirenClient(first.wait_serving()) as client, pytest.raises(SirenError) as error:
            listen(client)
    finally:
        first.close()
    assert error.value.status is grpc.StatusCode.UNAVAILABLE
    assert [r.cause.value for r in results if isinstance(r, Final)] == ["shutdown"]
    assert_promises(results)


def test_a_stream_left_on_purpose_gives_its_slot_back_at_once(server):
    """Leaving is no break: the server does not wait for whoever has gone."""
    with SirenClient(server.target) as client:
        for _ in range(3 * SLOTS):
            with client.stream(itertools.chain(ITEMS), reconnect=PATIENT) as results:
                next(results)
    assert_no_slot_is_lost(server)


class Call:
    """One call in the protocol's own messages, which a test steers."""

    def __init__(self, target: str, *requests: pb.StreamingRecognizeRequest) -> None:
        self._wire = Wire(target)
        self._requests: queue.Queue[pb.StreamingRecognizeRequest | None] = queue.Queue()
        self.send(*requests)
        self._responses = self._wire.stub.StreamingRecognize(
            iter(self._requests.get, None), timeout=WAIT_S
        )

    def send(self, *requests: pb.StreamingRecognizeRequest) -> None:
        for request in requests:
            self._requests.put(request)

    def read(self, kind: str) -> list[pb.StreamingRecognizeResponse]:
        """Read up to the first response of a kind."""
        responses = []
        for response in self._responses:
            responses.append(response)
            if response.WhichOneof("response") == kind:
                return responses
        raise AssertionError(f"the call ended without {kind}")

    def rest(self) -> list[pb.StreamingRecognizeResponse]:
        return list(self._responses)

    def error(self) -> grpc.RpcError:
        with pytest.raises(grpc.RpcError) as error:
            self.rest()
        return error.value

    def cancel(self) -> None:
        self._responses.cancel()

    def close(self) -> None:
        self.send(None)  # type: ignore[arg-type]
        self._wire.close()


@pytest.fixture(scope="module")
def single() -> Iterator[SirenServer]:
    """One front end, which keeps one stream, for long."""
    with serving(
        *("--max-sessions", "3", "--resume-grace-s", "60", "--max-parked", "1"),
        *("--front-ends", "1"),
    ) as server:
        yield server


@pytest.fixture
def call(single: SirenServer) -> Iterator[Callable[..., Call]]:
    calls = []

    def make(*requests: pb.StreamingRecognizeRequest) -> Call:
        calls.append(Call(single.target, *requests))
        return calls[-1]

    yield make
    for made in calls:
        made.close()


def resume(token: str, last_result: int = 0) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(resume=pb.Resume(token=token, last_result=last_result))


def token_of(responses: list[pb.StreamingRecognizeResponse]) -> str:
    return responses[0].started.resume_token


def numbered(items: Iterable[bytes], first: int = 1) -> list[pb.StreamingRecognizeRequest]:
    return [audio(item, seq) for seq, item in enumerate(items, first)]


def test_a_resumed_call_takes_over_and_repeats_what_was_missed(call):
    """The old call is alive: the client knows before the server that it is not."""
    first = call(config(resumable=True), *numbered(ITEMS[:22]), FINALIZE)
    heard = first.read("final")
    numbers = [r.number for r in heard if r.number]
    assert numbers == [1, 2, 3]  # speech started and ended, the final

    second = call(resume(token_of(heard), last_result=1))
    started, *missed = second.read("final")
    assert started.started.received_requests == 23
    assert [r.number for r in missed if r.number] == [2, 3]
    assert missed[-1] == heard[-1]
    assert failure(first.error()).reason == "INVALID_MESSAGE"

    second.send(*numbered(ITEMS[22:], 23), END)
    *_, last = second.rest()
    assert (last.number, last.final.cause) == (6, pb.FinalResult.CAUSE_END)
    assert last.final.start_time == heard[-1].final.end_time


def test_a_token_nobody_knows_is_refused_by_name(call):
    error = failure(call(resume("nobody's")).error())
    assert (error.reason, error.fields) == ("INVALID_CONFIG", ("resume.token",))


@pytest.mark.parametrize("last_result", [-1, 7])
def test_results_nobody_sent_are_refused_by_name_and_the_stream_is_still_there(call, last_result):
    first = call(config(resumable=True))
    token = token_of(first.read("started"))
    error = failure(call(resume(token, last_result)).error())
    assert (error.reason, error.fields) == ("INVALID_CONFIG", ("resume.last_result",))
    first.cancel()
    assert failure(call(resume(token, last_result)).error()).fields == ("resume.last_result",)
    again = call(resume(token, 0), *numbered(ITEMS[:22]), END)
    assert again.rest()[-1].final.text


def test_a_stream_that_was_not_to_be_resumed_has_no_token_and_no_numbers(call):
    first = call(config(), *numbered(ITEMS[:22]), END)
    responses = first.rest()
    assert token_of(responses) == ""
    assert {r.number for r in responses} == {0}


def test_the_end_is_told_again_to_who_missed_it(call):
    """A stream that ended keeps no session, but its last results."""
    first = call(config(resumable=True), *numbered(ITEMS[:22]), END)
    heard = first.rest()
    again = call(resume(token_of(heard))).rest()
    assert [r for r in again if r.number] == [r for r in heard if r.number]


def test_a_stream_given_up_is_over_with_its_call_and_answers_nothing(call):
    """The server would keep it for a minute; its call may still be alive."""
    for is_cancelled in (False, True):
        first = call(config(resumable=True), *numbered(ITEMS[:22]))
        token = token_of(first.read("partial"))
        if is_cancelled:
            first.cancel()
        given_up = pb.StreamingRecognizeRequest(resume=pb.Resume(token=token, discard=True))
        assert call(given_up).rest() == []
        if not is_cancelled:
            assert failure(first.error()).reason == "INVALID_MESSAGE"
        assert failure(call(resume(token)).error()).fields == ("resume.token",)
        again = failure(call(given_up).error())
        assert (again.reason, again.fields) == ("INVALID_CONFIG", ("resume.token",))
    held = [call(config()) for _ in range(3)]  # as many as there are sessions
    assert all(each.read("started") for each in held)
    for each in held:
        each.send(END)
        each.rest()


def test_half_closing_ends_a_resumable_stream_too(call):
    first = call(config(resumable=True), *numbered(ITEMS[:22]), None)
    assert first.rest()[-1].final.cause == pb.FinalResult.CAUSE_END


def test_a_parked_stream_goes_on_recognising(call):
    """All that was taken is recognised while nobody listens, and the newest partial is told."""
    first = call(config(resumable=True), *numbered(ITEMS[:22]))
    token = token_of(first.read("partial"))
    first.cancel()
    second = call(resume(token))
    taken = second.read("started")[0].started.received_requests
    second.send(*numbered(ITEMS[taken:22], taken + 1), END)
    alone = call(config(), *numbered(ITEMS[:22]), END).rest()
    assert second.rest()[-1].final.text == alone[-1].final.text


def test_one_parked_too_many_ends_the_oldest(call, single):
    tokens = []
    for _ in range(2):
        stream = call(config(resumable=True))
        tokens.append(token_of(stream.read("started")))
        stream.cancel()
        # A call that is refused goes through the same loop: the cancelled one was seen.
        call(resume("nobody's")).error()
    single.wait_for(OLDEST_ENDED)
    assert failure(call(resume(tokens[0])).error()).fields == ("resume.token",)
    assert call(resume(tokens[1])).read("started")


OLDEST_ENDED = re.compile("did not come back")


@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
def test_resume_time_is_where_the_recogniser_was_fresh(call, state):
    rules = pb.EndpointingConfig(min_silence_ms=500, state=state)
    stream = call(config(endpointing=rules), *numbered(ITEMS[:30]), FINALIZE, END)
    silence, asked, *_ = (r.final for r in stream.rest() if r.WhichOneof("response") == "final")
    end_ms, resume_ms = (t.ToMilliseconds() for t in (silence.end_time, silence.resume_time))
    if state == "STATE_SOFT":
        assert resume_ms == 0
    else:
        assert end_ms - 320 <= resume_ms < end_ms
    assert asked.resume_time == asked.end_time
