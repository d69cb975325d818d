from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from siren_grpc.cli import register
from siren_grpc.config.settings import load_settings
from siren_grpc.domain.principal import Principal, Quota
from siren_grpc.server.security.authenticator import Authenticator
from siren_grpc.server.security.setup import is_loopback, security_of
from siren_grpc.server.security.tokens import read_lines
from tests.support.certificates import Authority
from tests.support.jwts import AUDIENCE, ISSUER, Issuer

TOKEN = "a-token-of-the-environment"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def security(**given: Any):
    return security_of(load_settings(given, None))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_addresses_of_this_machine_want_nothing(host: str) -> None:
    assert is_loopback(host)
    assert not security(host=host).has_authentication


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "no-such-host.invalid"])
def test_others_are_refused_without_authentication_unless_told(host: str) -> None:
    with pytest.raises(ValueError, match="siren token new") as error:
        security(host=host)
    assert "--allow-anonymous" in str(error.value)
    assert not security(host=host, allow_anonymous=True).has_authentication


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "no-such-host.invalid"])
def test_an_admin_service_that_others_reach_is_refused_unless_told(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks nobody who they are: what callers of the port show protects nothing of it."""
    monkeypatch.setenv("SIREN_TOKENS", f"phone={TOKEN}")
    for more in ({}, {"host": "0.0.0.0"}, {"allow_anonymous": True}):
        with pytest.raises(ValueError, match="admin_host") as error:
            security(admin_host=host, admin_port=50052, **more)
        assert "--admin-allow-anonymous" in str(error.value)
        assert host in str(error.value)
    security(admin_host=host, admin_port=50052, admin_allow_anonymous=True)
    security(admin_host=host)  # without a port there is no service


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_an_admin_service_of_this_machine_wants_nothing(host: str) -> None:
    security(admin_host=host, admin_port=0)


def test_to_let_everybody_see_the_admin_service_lets_nobody_recognise() -> None:
    with pytest.raises(ValueError, match="siren token new"):
        security(host="0.0.0.0", admin_allow_anonymous=True)


def test_each_kind_of_authentication_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    cert, key = authority.write(tmp_path, "server")
    tls = {"tls_cert_file": cert, "tls_key_file": key}
    ca, jwks, tokens = tmp_path / "ca.pem", tmp_path / "jwks.json", tmp_path / "tokens.txt"
    ca.write_bytes(authority.certificate)
    jwks.write_text(Issuer().jwks)
    tokens.touch()
    for given in (
        {"tokens_file": tokens},
        {"jwt_jwks_file": jwks, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE},
        {**tls, "tls_client_ca_file": ca},
    ):
        assert security(host="0.0.0.0", **given).has_authentication
    monkeypatch.setenv("SIREN_TOKENS", f"phone={TOKEN}")
    caplog.clear()
    config = security(host="0.0.0.0")
    assert "plain text" in caplog.text
    found = Authenticator(pickle.loads(pickle.dumps(config))).authenticate(f"Bearer {TOKEN}")
    assert found.principal == Principal("phone")
    assert TOKEN.encode() not in pickle.dumps(config), "front ends are told hashes"
    caplog.clear()
    security(host="0.0.0.0", **tls)
    assert "plain text" not in caplog.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"jwt_jwks_file": "j"}, "belong together"),
        ({"jwt_issuer": "i", "jwt_audience": "a"}, "belong together"),
        ({"tls_cert_file": "c"}, "belong together"),
        ({"tls_client_ca_file": "c"}, "needs both"),
        ({"tokens_file": "/nowhere/tokens"}, "/nowhere/tokens"),
        (
            {
                "jwt_jwks_file": "j",
                "jwt_issuer": "i",
                "jwt_audience": "a",
                "jwt_algorithms": "none",
            },
            "jwt_algorithms: none",
        ),
    ],
)
def test_what_does_not_fit_together(given: dict[str, str], says: str) -> None:
    with pytest.raises((ValueError, OSError), match=says):
        security(**given)


def test_the_settings_quota_fills_in_what_a_token_has_none_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIREN_TOKENS", f"phone={TOKEN}")
    config = security(quota_sessions=2, quota_audio_s_per_day=60)
    caller = Authenticator(config).authenticate(f"Bearer {TOKEN}")
    assert caller.quota == Quota(2, None, 60.0)
    assert Quota(5, 1.0).or_else(config.default_quota) == Quota(5, 1.0, 60.0)


@pytest.mark.parametrize("value", ["phone", "phone=", f"phone={TOKEN},=x", "phone=brief-one"])
def test_secrets_are_not_shown_when_they_are_wrong(
    app: typer.Typer, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    done = CliRunner().invoke(app, ["serve"], env={"SIREN_TOKENS": value})
    assert done.exit_code in (1, 2)
    for shown in (done.output, caplog.text):
        assert TOKEN not in shown
        assert "brief-one" not in shown
    assert "token" in done.output


def test_a_name_may_have_several_tokens_in_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIREN_TOKENS", f"phone={TOKEN}, laptop={TOKEN}-2,phone={TOKEN}-3")
    authenticator = Authenticator(security())
    for token, name in ((TOKEN, "phone"), (f"{TOKEN}-2", "laptop"), (f"{TOKEN}-3", "phone")):
        assert authenticator.authenticate(f"Bearer {token}").principal == Principal(name)


def test_certificates_of_different_names_are_different_principals() -> None:
    authenticator = Authenticator(security())

    def principal(name: str) -> str:
        return authenticator.of_certificate(name).principal.name

    assert principal("turbine-7, hall 2") == "cert:turbine-7, hall 2"
    assert principal("B\xf3b") == "cert:B\\xf3b"
    names = ["B\xf3b", "B\xe8b", "B?b", "B\\xf3b", "B\udcf3b", "\n", "\u20ac", "\U0001f600"]
    names += ["\u6c34" * 64, "\u6c34" * 63 + "\u706b"]
    shown = [principal(name) for name in names]
    assert len(set(shown)) == len(names)
    for name in shown:
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 261


def test_settings_are_printed_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIREN_TOKENS", f"phone={TOKEN}")
    settings = load_settings({}, None)
    shown = repr(settings.model_dump()) + repr(settings) + settings.model_dump_json()
    assert TOKEN not in shown
    assert "phone" in shown


def test_secrets_are_no_flag_and_no_line_of_a_file(app: typer.Typer, tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["serve", "--tokens", f"phone={TOKEN}"]).exit_code == 2
    file = tmp_path / "siren.toml"
    file.write_text(f'[tokens]\nphone = "{TOKEN}"\n')
    done = CliRunner().invoke(app, ["serve", "--config", str(file)])
    assert done.exit_code == 2
    assert "environment only" in done.output
    assert TOKEN not in done.output


def test_a_new_token_goes_to_its_file_as_a_hash(app: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "tokens.txt"
    made = []
    for name, *more in (
        ("phone", "--sessions", "4", "--audio-seconds-per-hour", "1800"),
        ("laptop", "--expires", "2999-01-31", "--audio-seconds-per-day", "3600.5"),
    ):
        done = CliRunner().invoke(app, ["token", "new", "--name", name, "--file", str(file), *more])
        assert done.exit_code == 0, done.output
        made.append(done.output.strip())
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    phone, laptop = read_lines(text)
    assert (phone.quota, laptop.quota) == (Quota(4, 1800.0), Quota(None, None, 3600.5))
    assert laptop.expires_at is not None
    config = security(tokens_file=str(file))
    for token, name in zip(made, ("phone", "laptop"), strict=True):
        assert token not in text
        assert Authenticator(config).authenticate(f"Bearer {token}").principal.name == name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--name", "a b"], "1 to 64 letters"),
        (["--name", "a", "--expires", "soon"], "is no time"),
        (["--name", "a", "--expires", "2001-01-01"], "has passed"),
        (["--name", "a", "--file", __file__], "line 1"),
        (["--name", "a", "--audio-seconds-per-hour", "inf"], "audio-seconds-per-hour=inf: give a"),
    ],
)
def test_no_token_is_made_of_what_is_wrong(app: typer.Typer, arguments: list, says: str) -> None:
    done = CliRunner().invoke(app, ["token", "new", *arguments])
    assert done.exit_code == 2
    assert says in done.output
    assert "siren_" not in done.output.replace(__file__, "")
