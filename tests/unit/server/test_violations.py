"""All that is wrong with a config, gathered from what converts its fields."""

from __future__ import annotations

import pytest

from siren_grpc.domain.errors import InvalidConfig, ModelNotFound
from siren_grpc.server.violations import Violations


def test_nothing_is_raised_where_nothing_is_wrong() -> None:
    faults = Violations()
    with faults:
        pass
    faults.raise_any()


def test_faults_of_one_block_and_of_several_come_in_their_order() -> None:
    inner, faults = Violations(), Violations()
    for field in ("a", "b"):
        with inner:
            raise InvalidConfig.of_field(field, "no")
    with faults:
        raise InvalidConfig.of_field("first", "no")
    with faults:
        inner.raise_any()
    with pytest.raises(InvalidConfig) as caught:
        faults.raise_any()
    assert [v.field for v in caught.value.violations] == ["config.first", "config.a", "config.b"]


def test_the_only_fault_is_told_as_if_it_had_been_raised_alone() -> None:
    faults, alone = Violations(), InvalidConfig.of_field("a", "no; use b")
    with faults:
        raise alone
    with pytest.raises(InvalidConfig) as caught:
        faults.raise_any()
    assert (caught.value.message, caught.value.violations) == (alone.message, alone.violations)


def test_what_a_block_does_not_list_is_counted_further() -> None:
    inner, faults = Violations(), Violations()
    for i in range(300):
        with inner:
            raise InvalidConfig.of_field(str(i), "no")
    for _ in range(2):
        with faults:
            inner.raise_any()
    with pytest.raises(InvalidConfig) as caught:
        faults.raise_any()
    assert len(caught.value.violations) + caught.value.n_unlisted == 600


def test_other_errors_are_no_faults_of_fields() -> None:
    faults = Violations()
    with pytest.raises(ModelNotFound), faults:
        raise ModelNotFound("no such model")
    faults.raise_any()
