from __future__ import annotations

import pytest

from siren_grpc.bench.serve_flags import flag_value, with_defaults


@pytest.mark.parametrize(
    "flags",
    [["--max-sessions", "7"], ["--max-sessions=7"], ["--max-sessions=1", "--max-sessions", "7"]],
)
def test_a_flag_that_is_given_is_kept_in_either_form(flags: list[str]) -> None:
    assert flag_value(flags, "--max-sessions") == "7"
    assert with_defaults(flags, {"--max-sessions": 64}) == flags


def test_others_are_added() -> None:
    flags = ["--max-sessions-of-mine", "7", "--json"]
    assert flag_value(flags, "--max-sessions") is None
    assert flag_value(flags, "--json") == ""
    defaults = {"--max-sessions": 64, "--max-load": 0}
    assert with_defaults(flags, defaults) == [*flags, "--max-sessions=64", "--max-load=0"]
