from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.domain.results import Final, Partial, Result, SpeechEvent, SpeechEventKind
from siren_grpc.session.outbox import Outbox


def partial(n: int) -> Partial:
    return Partial(str(n), 0, n, n)


def final(n: int) -> Final:
    return Final(str(n), n, 0, n)


def drain(outbox: Outbox) -> list[Result]:
    results = []
    while (result := outbox.take()) is not None:
        results.append(result)
    return results


@given(st.lists(st.sampled_from(["partial", "final", "event"]), max_size=30))
def test_only_partials_are_replaced_and_order_is_kept(kinds: list[str]) -> None:
    outbox = Outbox(max_results=8)
    put: list[Result] = []
    for n, kind in enumerate(kinds):
        if kind == "event":
            put.append(SpeechEvent(SpeechEventKind.SPEECH_STARTED, n))
        else:
            put.append(partial(n) if kind == "partial" else final(n))
        outbox.put(put[-1])
    expected = [
        result
        for result, after in zip(put, [*put[1:], None], strict=False)
        if not (isinstance(result, Partial) and isinstance(after, Partial))
    ]
    assert drain(outbox) == expected


def test_it_is_full_at_its_bound_and_drops_nothing_behind_it() -> None:
    outbox = Outbox(max_results=2)
    outbox.put(final(1))
    assert not outbox.is_full
    outbox.put(final(2))
    assert outbox.is_full
    outbox.put(final(3))
    assert drain(outbox) == [final(1), final(2), final(3)]
    assert not outbox.is_full


def test_partials_alone_never_fill_it() -> None:
    outbox = Outbox(max_results=2)
    for n in range(100):
        outbox.put(partial(n))
    assert not outbox.is_full
    assert drain(outbox) == [partial(99)]
