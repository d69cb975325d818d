from __future__ import annotations

import pytest

from siren_grpc.domain.errors import FieldViolation, InvalidConfig, Overloaded
from siren_grpc.server.redaction import loggable


def test_most_errors_are_logged_as_the_client_is_told() -> None:
    assert loggable(Overloaded("full")) == "full"
    error = InvalidConfig.of_field("sample_rate_hertz", "7999; use 8000 to 48000")
    assert loggable(error) == error.message


@pytest.mark.parametrize("field", ["biasing.phrases[3].text", "text.masked_words[0]", "text.mask"])
def test_a_clients_words_are_not(field: str) -> None:
    for error in (
        InvalidConfig.of_field(field, "'quokka' is not one word"),
        InvalidConfig.of_field(field, "'quokka' is not one word").in_update(),
    ):
        assert field in loggable(error)
        assert "quokka" not in loggable(error)


def test_nor_where_other_fields_are_bad_as_well() -> None:
    words = FieldViolation("config.text.masked_words", "'quokka' is not one word")
    error = InvalidConfig.of_fields([FieldViolation("config.encoding", "no"), words])
    assert "quokka" in error.message
    assert loggable(error).startswith("config.encoding, config.text.masked_words (")
    assert "quokka" not in loggable(error)
