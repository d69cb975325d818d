from __future__ import annotations

import hmac

import pytest

from siren_grpc.domain.principal import Quota
from siren_grpc.server.security import token_table
from siren_grpc.server.security.authenticator import Authenticator
from siren_grpc.server.security.config import SecurityConfig
from siren_grpc.server.security.token_table import TokenTable
from siren_grpc.server.security.tokens import new_token, records_of_plain

KEY = bytes(range(32))


def test_the_servers_quota_is_for_what_a_token_says_nothing_of() -> None:
    token, record = new_token("phone", Quota(sessions=9))
    default = Quota(sessions=1, audio_s_per_hour=60.0)
    config = SecurityConfig(tokens=(record,), default_quota=default)
    assert Authenticator(config).authenticate(f"Bearer {token}").quota == Quota(9, 60.0)
    assert Authenticator(config).of_certificate("phone").quota == default
    assert Authenticator(SecurityConfig(default_quota=default)).authenticate(None).quota == default


def test_how_often_secrets_are_compared_tells_nothing_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    token, record = new_token("phone")
    plain = records_of_plain([("first", "a" * 32), ("second", "b" * 32)], key=KEY)
    table = TokenTable([record, *plain], key=KEY)
    n_compared = 0

    class Counting:
        @staticmethod
        def compare_digest(one: bytes, other: bytes) -> bool:
            nonlocal n_compared
            n_compared += 1
            return hmac.compare_digest(one, other)

    monkeypatch.setattr(token_table, "hmac", Counting)
    wrong = token[:-1] + ("x" if token[-1] != "x" else "y")
    unknown, _ = new_token("stranger")
    found = []
    for shown in (token, wrong, unknown, "a" * 32, "b" * 32, "c" * 32, ""):
        n_compared = 0
        found.append(table.find(shown) is not None)
        assert n_compared == 3, shown
    assert found == [True, False, False, True, True, False, False]
