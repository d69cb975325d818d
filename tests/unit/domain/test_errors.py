from __future__ import annotations

import pytest

from siren_grpc.domain.errors import InvalidConfig, InvalidMessage


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
