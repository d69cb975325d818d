from __future__ import annotations

import pytest

from siren_grpc.domain.errors import FieldViolation, InvalidConfig, InvalidMessage


@pytest.mark.parametrize("noise", ["x", "é", "\U0001f3a4"])
def test_a_long_message_keeps_its_beginning_and_its_end(noise: str) -> None:
    error = InvalidConfig.of_field("model", f"no {noise * 100_000}; use this")
    for text in (error.message, str(error), error.violations[0].description):
        assert len(text.encode()) <= 1000
        assert text.endswith("; use this")
        assert "[...]" in text
    assert error.message.startswith(f"config.model: no {noise}")
    assert error.violations[0].field == "config.model"


def test_a_short_message_is_as_it_was() -> None:
    assert InvalidMessage("x" * 1000).message == "x" * 1000
    assert str(InvalidMessage("short")) == "short"


def violations(*fields: str, says: str = "no") -> list[FieldViolation]:
    return [FieldViolation(f"config.{field}", says) for field in fields]


def test_a_message_of_several_fields_holds_all_while_it_is_short() -> None:
    error = InvalidConfig.of_fields(violations("a", "b", "c"))
    assert error.message == "config.a: no. config.b: no. config.c: no"
    assert [v.field for v in error.violations] == ["config.a", "config.b", "config.c"]
    assert error.n_unlisted == 0


def test_a_long_message_names_the_first_field_and_how_many_there_are_beside_it() -> None:
    error = InvalidConfig.of_fields(violations("a", "b", "c", says="x" * 200))
    assert error.message == f"config.a: {'x' * 200} (and 2 more invalid fields)"
    assert len(error.violations) == 3
    pair = InvalidConfig.of_fields(violations("a", "b", says="x" * 300))
    assert pair.message == f"config.a: {'x' * 300} (and 1 more invalid field)"


@pytest.mark.parametrize("says", ["x" * 100_000, "\U0001f3a4" * 90, "no"])
def test_fields_that_no_header_could_hold_are_counted(says: str) -> None:
    error = InvalidConfig.of_fields(violations(*map(str, range(1000)), says=says))
    listed = [v.field for v in error.violations]
    assert listed == [f"config.{i}" for i in range(len(listed))]
    assert len(listed) >= 1
    assert len(listed) + error.n_unlisted == 1000
    assert error.message.endswith("(and 999 more invalid fields)")
    assert sum(len((v.field + v.description).encode()) for v in error.violations) <= 2400


def test_an_error_that_counts_more_than_it_lists_does_so_in_an_update() -> None:
    error = InvalidConfig.of_fields(violations(*map(str, range(1000)))).in_update()
    assert len(error.violations) + error.n_unlisted == 1000
    assert error.message.endswith("update.0: no (and 999 more invalid fields)")
    assert error.violations[1] == FieldViolation("update.1", "no")
