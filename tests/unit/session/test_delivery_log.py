from __future__ import annotations

import pytest

from siren_grpc.session.delivery_log import DeliveryLog, Forgotten, NeverSent


def make_log(*results: str, max_results: int = 10) -> DeliveryLog[str]:
    log: DeliveryLog[str] = DeliveryLog(max_results=max_results)
    for result in results:
        log.record(result, ends_utterance=result.startswith("final"))
    return log


def test_what_follows_a_number_comes_in_order():
    log = make_log("event", "final 1", "final 2")
    assert [log.since(number) for number in range(4)] == [
        ["event", "final 1", "final 2"],
        ["final 1", "final 2"],
        ["final 2"],
        [],
    ]
    assert log.next_number() == 4


def test_the_newest_partial_of_the_current_utterance_comes_last():
    log = make_log("final 1")
    log.record_partial("one")
    log.record_partial("one two")
    log.record("event", ends_utterance=False)
    assert log.since(1) == ["event", "one two"]
    log.record("final 2", ends_utterance=True)
    assert log.since(2) == ["final 2"]


def test_results_sent_too_long_ago_are_forgotten():
    log = make_log("a", "b", "c", max_results=2)
    assert log.since(1) == ["b", "c"]
    with pytest.raises(Forgotten, match="result 0 of 3"):
        log.since(0)


@pytest.mark.parametrize("number", [-1, 4])
def test_results_that_never_were_are_not_forgotten(number):
    with pytest.raises(NeverSent, match="of 3"):
        make_log("a", "b", "c", max_results=2).since(number)
