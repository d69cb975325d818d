from __future__ import annotations

import pytest

from siren_grpc.soak.known_words import Word
from siren_grpc.soak.word_audit import WordAudit

WORDS = [Word(f"word{i}", float(i)) for i in range(100)]


@pytest.mark.parametrize("every_s", [1, 7, 13, 30, 99])
def test_a_stretch_is_the_same_however_often_it_is_asked_for(every_s: int) -> None:
    audit = WordAudit((40.0, 60.0))
    for at in range(0, 100, every_s):
        told = [word for word in WORDS if at <= word.start_s < at + every_s]
        audit.expect(told)
        audit.hear(word for word in told if word.start_s != 50)
        audit.look_up(at + every_s)
    assert audit.between(0.0, 40.0).found == 40
    behind = audit.between(40.0, 60.0)
    assert (behind.known, behind.heard, behind.found) == (20, 19, 19)


def test_words_that_are_not_due_are_kept() -> None:
    audit = WordAudit(())
    audit.expect(WORDS)
    audit.hear(WORDS)
    assert audit.look_up(10.5).found == 11
    assert audit.look_up(1000.0).found == 89
    assert [end for end, _ in audit.stretches] == [10.5, 1000.0]
