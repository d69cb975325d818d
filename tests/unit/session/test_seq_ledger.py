"""Promise 2, on its own: which messages are accounted for."""

from __future__ import annotations

import pytest

from siren_grpc.domain.errors import InvalidMessage
from siren_grpc.session.seq_ledger import SeqLedger


def halved(n_bytes: int) -> int:
    return n_bytes // 2


def test_a_message_is_settled_when_all_of_it_is() -> None:
    ledger = SeqLedger()
    for seq, end in ((3, 200), (0, 300), (7, 400)):
        ledger.record(seq, end)
    ledger.place(halved)
    assert ledger.settle(99) == ([], 0)
    assert ledger.accounted(100) == 3
    assert ledger.settle(100) == ([(3, 100)], 3)
    assert ledger.settle(1000) == ([(7, 200)], 7)
    assert ledger.settle(1000) == ([], 7)


def test_what_is_not_decoded_is_not_settled() -> None:
    ledger = SeqLedger()
    ledger.record(1, 200)
    ledger.record(2, 400)
    ledger.place(lambda n_bytes: halved(n_bytes) if n_bytes <= 200 else None)
    assert ledger.settle(10_000) == ([(1, 100)], 1)
    ledger.place(halved)
    assert ledger.settle(10_000) == ([(2, 200)], 2)


def test_a_number_must_increase() -> None:
    ledger = SeqLedger()
    ledger.record(5, 10)
    for seq in (5, 4):
        with pytest.raises(InvalidMessage, match="after 5"):
            ledger.record(seq, 20)
