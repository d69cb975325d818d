from __future__ import annotations

import hashlib
import re
import time

import pytest

from siren_grpc.domain.principal import Principal, Quota
from siren_grpc.server.security.token_table import TokenTable
from siren_grpc.server.security.tokens import (
    TokenRecord,
    new_token,
    parse_expiry,
    read_lines,
    records_of_plain,
    to_line,
)

KEY = bytes(range(32))


def test_a_token_is_found_by_its_line_alone() -> None:
    quota = Quota(4, 1234567.5, 1e15)
    token, record = new_token("phone", quota, parse_expiry("2027-01-31"))
    line = to_line(record)
    assert token not in line
    assert token.split("_", 2)[2] not in line
    assert hashlib.sha256(token.encode()).hexdigest() in line
    (again,) = read_lines(f"# tokens\n\n{line}  # of the app\n")
    assert again == record
    assert TokenTable([again]).find(token) == record


def test_a_line_is_one_that_can_be_read_again() -> None:
    for quota in (Quota(10**17), Quota(0, 0.0, 1e-9)):
        _, record = new_token("phone", quota)
        assert read_lines(to_line(record)) == (record,)
    for endless in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="audio-seconds-per-hour="):
            to_line(new_token("phone", Quota(None, endless))[1])


def test_tokens_differ_and_hold_32_random_bytes() -> None:
    tokens = {new_token("phone")[0] for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"siren_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_nothing_but_the_whole_token_is_found() -> None:
    (token, record), (other, _) = new_token("phone"), new_token("phone")
    table = TokenTable([record])
    wrong_secret = token[:-1] + ("A" if token[-1] != "A" else "B")
    swapped = token[:18] + other[18:]
    for shown in (
        "",
        "siren",
        wrong_secret,
        swapped,
        other,
        token + "=",
        token.upper(),
        f" {token}",
    ):
        assert table.find(shown) is None
    assert table.find("siren_\udcff") is None


def test_several_of_one_name_and_other_peoples_tokens() -> None:
    (first, a), (second, b) = new_token("phone"), new_token("phone")
    plain = records_of_plain([("laptop", "correct-horse-battery")], KEY)
    table = TokenTable([a, b, *plain], key=KEY)
    assert table.names == {"phone", "laptop"}
    assert table.find(first) == a
    assert table.find(second) == b
    found = table.find("correct-horse-battery")
    assert found is not None
    assert found.principal == Principal("laptop")
    assert table.find("correct-horse-batterz") is None
    assert TokenTable(plain, key=KEY[::-1]).find("correct-horse-battery") is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("phone", "phone is not followed by a hash"),
        ("phone sha256:12:34", "not followed by a hash"),
        ("bad/name LINE", "use 1 to 64 letters"),
        ("anonymous LINE", "not 'anonymous'"),
        ("jwt:x LINE", "use 1 to 64 letters"),
        ("phone LINE session=3", "'session' is unknown; use sessions"),
        ("phone LINE sessions=-1", "a whole number from 0 on"),
        (f"phone LINE sessions={10**400}", "a whole number from 0 on"),
        ("phone LINE sessions=1.5", "a whole number from 0 on"),
        ("phone LINE audio-seconds-per-day=nan", "a number from 0 on"),
        ("phone LINE expires=soon", "write 2027-01-31"),
        ("phone LINE\nphone LINE", "is there twice"),
    ],
)
def test_a_bad_line_is_named_and_its_hash_is_not(line: str, says: str) -> None:
    _, record = new_token("x")
    hashed = to_line(record).split()[1]
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        read_lines("\n" + line.replace("LINE", hashed))
    assert record.digest.hex() not in str(error.value)
    if "twice" not in says:
        assert "line 2: " in str(error.value)


@pytest.mark.parametrize(
    "token", ["brief", "sixteen spaced chars", "fifteen-chars-1", "ünicode-token-of-20"]
)
def test_a_plain_token_must_be_long_and_is_never_shown(token: str) -> None:
    with pytest.raises(ValueError, match="16 printable") as error:
        records_of_plain([("phone", token)], KEY)
    assert token not in str(error.value)


def test_times_are_in_utc_unless_they_say_otherwise() -> None:
    noon = parse_expiry("2027-01-31T12:00:00Z")
    assert noon == parse_expiry("2027-01-31T14:00:00+02:00") == parse_expiry("2027-01-31T12:00")
    assert time.gmtime(noon)[:4] == (2027, 1, 31, 12)


def test_a_record_does_not_show_its_digest() -> None:
    _, record = new_token("phone")
    assert isinstance(record, TokenRecord)
    assert record.digest.hex() not in repr(record)
    assert repr(record.digest) not in repr(record)
