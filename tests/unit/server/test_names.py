from __future__ import annotations

import pytest

from siren_grpc.domain.errors import ModelNotFound
from siren_grpc.server.names import ModelNames

NAMES = ModelNames("small", {"fast": "small", "accurate": "large"})


@pytest.mark.parametrize(
    ("asked", "got"), [("", "small"), ("small", "small"), ("fast", "small"), ("accurate", "large")]
)
def test_ids_aliases_and_nothing_name_models(asked: str, got: str) -> None:
    assert NAMES.resolve(asked, ["small", "large"]) == got


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(ModelNotFound) as caught:
        NAMES.resolve("huge", ["small"])
    assert caught.value.message == (
        "no model 'huge' here; use small, fast, or leave it empty for the default"
    )


def test_an_alias_of_a_model_that_went_is_unknown() -> None:
    with pytest.raises(ModelNotFound):
        NAMES.resolve("accurate", ["small"])


def test_aliases_of_a_model() -> None:
    assert NAMES.aliases_of("small") == ["fast"]
    assert NAMES.aliases_of("other") == []
