"""Which errors of one recording end the work on the others."""

from __future__ import annotations

import grpc
import pytest

from siren_client import FieldViolation, Reason, SirenError
from siren_client.cli.batch import _is_same_for_all
from siren_client.cli.inputs import InputError, find_inputs


@pytest.mark.parametrize(
    ("fields", "is_same"),
    [
        (("config.chunk_frames",), True),
        (("config.channel_count",), False),
        (("config.sample_rate_hertz", "config.channel"), False),
        (("config.channel", "config.model"), True),
        ((), True),
    ],
)
def test_what_a_file_is_concerns_that_file_alone(fields: tuple[str, ...], is_same: bool) -> None:
    error = SirenError(
        grpc.StatusCode.INVALID_ARGUMENT,
        "not taken",
        reason=Reason.INVALID_CONFIG,
        violations=tuple(FieldViolation(field, "not taken") for field in fields),
    )
    assert _is_same_for_all(error) is is_same


def test_a_name_the_system_cannot_have_is_wrong_usage() -> None:
    with pytest.raises(InputError, match="too long"):
        find_inputs(["x" * 5000], recursive=False)
