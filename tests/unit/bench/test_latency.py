from __future__ import annotations

import pytest

from siren_grpc.bench.latency import LatencyBook


def make_book() -> LatencyBook:
    book = LatencyBook()
    for number in (1, 2, 3):
        book.sent_packet(1600 * number, now_s=0.1 * number)
    return book


@pytest.mark.parametrize(
    ("processed", "sent_at"), [(1, 0.1), (1600, 0.1), (1601, 0.2), (3200, 0.2), (4800, 0.3)]
)
def test_a_partial_waited_for_the_packet_that_completed_it(processed: int, sent_at: float) -> None:
    found = make_book().partial(processed, now_s=0.5)
    assert found is not None
    assert found.latency_s == pytest.approx(0.5 - sent_at)
    assert found.at_s == 0.5


@pytest.mark.parametrize("processed", [0, 4801])
def test_a_partial_of_no_audio_or_of_more_than_was_sent_is_nobodys(processed: int) -> None:
    assert make_book().partial(processed, now_s=0.5) is None


def test_finals_answer_ends_in_order() -> None:
    book = make_book()
    book.sent_end(0.3)
    book.sent_end(0.9)
    assert book.n_unanswered == 2
    found = [book.final(1.0), book.final(1.2), book.final(1.3)]
    assert [latency and latency.latency_s for latency in found] == [
        pytest.approx(0.7),
        pytest.approx(0.3),
        None,
    ]
    assert book.n_unanswered == 0
