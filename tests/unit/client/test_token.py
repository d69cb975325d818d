from __future__ import annotations

import itertools
from pathlib import Path

import grpc
import pytest
from typer.testing import CliRunner

from siren_client import AsyncSirenClient, FileToken, Reason, SirenClient, SirenError, Tls
from siren_client.cli.app import build_app
from siren_client.connection import make_connection
from siren_client.token import authorization_of, is_local
from tests.support.certificates import Authority

HERE = (
    "127.0.0.1:50051 localhost:1 localhost LOCALHOST.:1 [::1]:50051 ::1 127.9.9.9 "
    "unix:/run/siren.sock dns:///localhost:1 ipv4:127.0.0.1:1,127.0.0.2:1 ipv6:[::1]:1"
).split()
ELSEWHERE = (
    "10.0.0.1:50051 asr.example.org:443 dns:///siren:50051 0.0.0.0:50051 [fe80::1]:1 "
    "ipv4:127.0.0.1:1,10.0.0.1:1 localhost.example.org:1 127.0.0.1.example.org:1 "
    "xds:///localhost dns://10.0.0.1/localhost.example"
).split()


@pytest.mark.parametrize("target", HERE)
def test_targets_on_this_machine(target: str) -> None:
    assert is_local(target)


@pytest.mark.parametrize("target", [*ELSEWHERE, ""])
def test_targets_that_may_be_elsewhere(target: str) -> None:
    assert not is_local(target)


def test_a_token_goes_nowhere_in_plain_text_unless_told() -> None:
    for client in (SirenClient, AsyncSirenClient, make_connection):
        with pytest.raises(ValueError, match="plain text") as error:
            client("asr.example.org:443", token="secret")
        assert "secret" not in str(error.value)
    make_connection("asr.example.org:443", token="secret", plaintext_token=True)
    secure = make_connection("asr.example.org:443", token="secret", credentials=Tls())
    assert "secret" not in repr(secure)


@pytest.mark.parametrize("token", ["", "two words", "line\n", "caf\u00e9"])
def test_what_no_header_holds_is_not_sent_and_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="empty, or holds") as error:
        authorization_of(token)
    assert not token or token not in str(error.value)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    cert, key = Authority().write(tmp_path, "client")
    Tls.from_files(cert_file=cert, key_file=key).to_credentials()
    with pytest.raises(ValueError, match="belong together"):
        Tls.from_files(cert_file=cert)
    assert "BEGIN" not in repr(Tls(client_certificate=b"c", client_key=b"BEGIN"))


def test_a_provider_is_asked_for_every_call_resumed_ones_too(echo) -> None:
    numbers = itertools.count(1)
    shown = []
    answer = echo.service._is_refused

    def refused() -> bool:
        shown.append(echo.service.metadata["authorization"])
        return answer()

    echo.service._is_refused = refused
    with SirenClient(echo.target, token=lambda: f"token-{next(numbers)}") as client:
        client.list_models()
        assert echo.service.metadata["authorization"] == "Bearer token-1"
        list(client.stream([b"ab"]))
        list(client.stream([b"ab"]))
    assert shown == ["Bearer token-2", "Bearer token-3"]


def test_a_token_file_is_read_for_every_call(echo, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    with SirenClient(echo.target, token=FileToken(file)) as client:
        client.list_models()
        assert echo.service.metadata["authorization"] == "Bearer first"
        file.write_text("second\n")
        client.list_models()
        assert echo.service.metadata["authorization"] == "Bearer second"


def test_a_token_file_that_is_being_replaced_keeps_its_last_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = FileToken(file)
    with pytest.raises(FileNotFoundError):
        token()
    file.touch()
    with pytest.raises(ValueError, match="the token is empty"):
        token()
    file.write_text("first\n")
    assert token() == "first"
    file.write_text("")
    assert token() == "first"
    file.unlink()
    assert token() == "first"
    file.write_text("second\n")
    assert token() == "second"


@pytest.mark.parametrize("value", ["", "two words", None])
def test_a_provider_that_gives_no_token_is_an_error_of_the_call(value: str) -> None:
    with pytest.raises(SirenError, match="AUTH_FAILED: there is no token to send") as caught:
        authorization_of(lambda: value)
    assert caught.value.__cause__ is not None


def test_the_command_takes_the_token_from_a_file(echo, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("of-a-file\n")
    app = build_app([])
    for arguments, environment in (
        (["--token-file", str(file)], {}),
        ([], {"SIREN_TOKEN_FILE": str(file)}),
        ([], {"SIREN_TOKEN": "of-a-file"}),
    ):
        echo.service.metadata = {}
        done = CliRunner().invoke(
            app, ["models", "--server", echo.target, *arguments], env=environment
        )
        assert done.exit_code == 0, done.output
        assert echo.service.metadata["authorization"] == "Bearer of-a-file"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--server", "asr.example.org:443", "--token", "secret"], "in plain text"),
        (["--token", "secret", "--token-file", __file__], "name two"),
        (["--client-cert", __file__], "belong together"),
    ],
)
def test_what_the_command_does_not_do(arguments: list[str], says: str) -> None:
    for command in ("models", "health"):
        done = CliRunner().invoke(build_app([]), [command, *arguments])
        assert done.exit_code == 2
        assert says in done.output
        assert "secret" not in done.output


def test_errors_of_a_provider_reach_the_caller(echo, tmp_path: Path) -> None:
    with SirenClient(echo.target, token=FileToken(tmp_path / "none")) as client:
        for call in (client.list_models, client.health, lambda: client.stream([b"ab"])):
            with pytest.raises(SirenError) as caught:
                call()
            assert caught.value.status is grpc.StatusCode.UNAUTHENTICATED
            assert caught.value.reason is Reason.AUTH_FAILED
            assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert isinstance(Tls().to_credentials(), grpc.ChannelCredentials)
