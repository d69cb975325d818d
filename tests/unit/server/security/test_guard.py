"""A front end without a model: who is let in, over real connections."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_grpc.server.security import guard
from siren_grpc.server.security.config import JwtConfig, SecurityConfig, TlsConfig
from siren_grpc.server.security.tokens import new_token, records_of_plain, to_line
from tests.support.bare_front_end import front_end
from tests.support.certificates import Authority
from tests.support.jwts import AUDIENCE, ISSUER, Issuer
from tests.support.wire import failure

KEY = bytes(range(32))
PLAIN = "a-token-of-the-environment"
WAIT_S = 20.0


@pytest.fixture(autouse=True)
def _quick_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_POLL_S", 0.02)


async def list_models(channel: grpc.aio.Channel, authorization: str | None) -> Any:
    metadata = () if authorization is None else (("authorization", authorization),)
    stub = speech_pb2_grpc.SpeechServiceStub(channel)
    return await stub.ListModels(pb.ListModelsRequest(), metadata=metadata, timeout=WAIT_S)


async def refusal(channel: grpc.aio.Channel, authorization: str | None) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await list_models(channel, authorization)
    failed = failure(error.value)
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_FAILED")
    return failed.message


async def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def write(file: Path, content: str) -> None:
    """Replace a file in one step, as an editor or a mounted secret does."""
    fresh = file.with_suffix(".new")
    fresh.write_text(content)
    fresh.rename(file)


def remove(file: Path) -> None:
    file.unlink()


@pytest.fixture
def tokens_file(tmp_path: Path) -> Path:
    return tmp_path / "tokens.txt"


async def test_every_method_wants_a_token_and_health_and_reflection_none() -> None:
    plain = records_of_plain([("phone", PLAIN)], KEY)
    async with (
        front_end(SecurityConfig(tokens=plain, token_key=KEY)) as server,
        server.channel() as channel,
    ):
        said = {
            await refusal(channel, shown)
            for shown in ("Bearer wrong-token-of-no-one", "Bearer x", f"Bearer {PLAIN}x")
        }
        assert len(said) == 1, "what was wrong with a token is not told"
        assert "authorization: Bearer TOKEN" in await refusal(channel, None)
        assert "no bearer token" in await refusal(channel, f"Basic {PLAIN}")
        for shown in (f"Bearer {PLAIN}", f"bearer  {PLAIN} "):
            await list_models(channel, shown)
        stub = speech_pb2_grpc.SpeechServiceStub(channel)
        for call in (
            stub.StreamingRecognize(timeout=WAIT_S),
            stub.Recognize(pb.RecognizeRequest(), timeout=WAIT_S),
        ):
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert not tuple(await call.initial_metadata())
        assert server.calls == {
            ("ListModels", "AUTH_FAILED"): 5,
            ("ListModels", "OK"): 2,
            ("StreamingRecognize", "AUTH_FAILED"): 1,
            ("Recognize", "AUTH_FAILED"): 1,
        }
        health = health_pb2_grpc.HealthStub(channel)
        await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
        listed = await health.List(health_pb2.HealthListRequest(), timeout=WAIT_S)
        assert {"", "siren.v1.SpeechService"} <= set(listed.statuses)
        assert {f"grpc.reflection.{v}.ServerReflection" for v in ("v1", "v1alpha")} <= set(
            await reflected(channel)
        )
        assert b"grpc/reflection/v1/reflection.proto" in await described(
            channel, "grpc.reflection.v1.ServerReflection"
        )


async def reflected(channel: grpc.aio.Channel) -> list[str]:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=WAIT_S):
        return [service.name for service in answer.list_services_response.service]
    raise AssertionError("no answer")


async def described(channel: grpc.aio.Channel, symbol: str) -> bytes:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    async for answer in stub.ServerReflectionInfo(iter([request]), timeout=WAIT_S):
        return b"".join(answer.file_descriptor_response.file_descriptor_proto)
    raise AssertionError("no answer")


async def test_a_refused_stream_is_answered_before_it_sends_anything() -> None:
    plain = records_of_plain([("phone", PLAIN)], KEY)
    async with (
        front_end(SecurityConfig(tokens=plain, token_key=KEY)) as server,
        server.channel() as channel,
    ):
        call = speech_pb2_grpc.SpeechServiceStub(channel).StreamingRecognize(timeout=WAIT_S)
        assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert not server.callers


async def test_whoever_counts_is_told_of_refused_calls() -> None:
    plain = records_of_plain([("phone", PLAIN)], KEY)
    refused: list[str] = []
    asking = guard.Guard(SecurityConfig(tokens=plain, token_key=KEY), refused.append)
    server = grpc.aio.server(interceptors=asking.interceptors())
    port = asking.add_port(server, "127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await refusal(channel, None)
        assert refused == ["/siren.v1.SpeechService/ListModels"]
        with pytest.raises(grpc.aio.AioRpcError) as unknown:  # let in, and there is no such method
            await list_models(channel, f"Bearer {PLAIN}")
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    await server.stop(None)
    assert len(refused) == 1


async def test_health_and_reflection_can_be_closed_and_health_has_a_port_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    plain = records_of_plain([("phone", PLAIN)], KEY)
    security = SecurityConfig(
        tokens=plain, token_key=KEY, open_health=False, open_reflection=False, health_port=0
    )
    async with front_end(security) as server, server.channel() as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        with pytest.raises(grpc.aio.AioRpcError) as closed:
            await check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
        assert closed.value.code() is grpc.StatusCode.UNAUTHENTICATED
        token = (("authorization", f"Bearer {PLAIN}"),)
        await check(health_pb2.HealthCheckRequest(), metadata=token, timeout=WAIT_S)
        with pytest.raises(grpc.aio.AioRpcError):
            await reflected(channel)
        (port,) = [r.args[0] for r in caplog.records if "health alone" in r.message]  # type: ignore[index]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as probe:
            health = health_pb2_grpc.HealthStub(probe)
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError) as nothing_else:
                await list_models(probe, f"Bearer {PLAIN}")
            assert nothing_else.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_tokens_are_rotated_while_it_runs(
    tokens_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (old, a), (new, b) = new_token("phone"), new_token("phone")
    gone, c = new_token("laptop")
    write(tokens_file, f"{to_line(a)}\n{to_line(c)}\n")
    async with front_end(SecurityConfig(tokens_file=tokens_file)) as server:
        revoked: list[frozenset[str]] = []
        revoke = server.front_end._service.revoke
        server.front_end._guard.close()
        server.front_end._guard.follow(lambda names: (revoked.append(names), revoke(names)))  # type: ignore[arg-type,func-returns-value]
        authenticator = server.front_end._guard._authenticator
        async with server.channel() as channel:
            await list_models(channel, f"Bearer {old}")
            await refusal(channel, f"Bearer {new}")
            write(tokens_file, f"{to_line(a)}\n{to_line(b)}\n{to_line(c)}\n")
            await until(lambda: authenticator._table.find(new) is not None)
            await list_models(channel, f"Bearer {old}")
            await list_models(channel, f"Bearer {new}")
            assert revoked == []

            write(tokens_file, "phone not-a-hash\n")
            await until(lambda: "stays in force" in caplog.text)
            assert f"tokens_file {tokens_file}: line 1: phone is not followed" in caplog.text
            await list_models(channel, f"Bearer {new}")
            remove(tokens_file)
            await until(lambda: caplog.text.count("stays in force") == 2)
            await list_models(channel, f"Bearer {new}")

            write(tokens_file, f"{to_line(b)}\n")
            await until(lambda: revoked != [])
            assert revoked == [{"laptop"}], "phone has a token still"
            await list_models(channel, f"Bearer {new}")
            await refusal(channel, f"Bearer {old}")
            await refusal(channel, f"Bearer {gone}")
    for token in (old, new, gone):
        assert token not in caplog.text


async def test_an_expired_token(tokens_file: Path) -> None:
    token, record = new_token("phone", expires_at=time.time() - 1)
    write(tokens_file, to_line(record))
    async with (
        front_end(SecurityConfig(tokens_file=tokens_file)) as server,
        server.channel() as channel,
    ):
        assert "has expired" in await refusal(channel, f"Bearer {token}")
        assert "expired" not in await refusal(channel, f"Bearer {token[:-1]}~")


async def test_jwts_beside_tokens_and_their_keys_rotated(tmp_path: Path) -> None:
    first, second = Issuer(kid="1"), Issuer("RS256", kid="2")
    jwks = tmp_path / "jwks.json"
    jwks.write_text(first.jwks)
    checks = JwtConfig(jwks, ISSUER, AUDIENCE, ("ES256", "RS256"), 30.0, "")
    plain = records_of_plain([("phone", PLAIN)], KEY)
    security = SecurityConfig(tokens=plain, token_key=KEY, jwt=checks)
    async with front_end(security) as server, server.channel() as channel:
        await list_models(channel, f"Bearer {PLAIN}")
        await list_models(channel, f"Bearer {first.sign()}")
        assert "expired" in await refusal(channel, f"Bearer {first.sign(exp=1)}")
        await refusal(channel, f"Bearer {second.sign()}")
        verifier = server.front_end._guard._authenticator
        before = verifier._jwts
        write(jwks, second.jwks)
        await until(lambda: verifier._jwts is not before)
        await list_models(channel, f"Bearer {second.sign()}")
        await refusal(channel, f"Bearer {first.sign()}")


def subject(port: int, authority: Authority) -> str:
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("localhost", port), WAIT_S) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as wrapped,
    ):
        return dict(row[0] for row in wrapped.getpeercert()["subject"])["commonName"]  # type: ignore[index,misc]


async def test_certificates_are_replaced_while_a_stream_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority()
    cert, key = authority.write(tmp_path, "one")
    security = SecurityConfig(tls=TlsConfig(cert, key, None))
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    async with front_end(security) as server, server.channel(credentials) as channel:
        port = int(server.target.rpartition(":")[2])
        call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        first = await call.read()
        assert first.status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await asyncio.to_thread(subject, port, authority) == "one"
        key.write_bytes(authority.issue("stranger")[1])  # of another certificate
        await until(lambda: "stays in use" in caplog.text)
        assert await asyncio.to_thread(subject, port, authority) == "one"
        caplog.clear()
        caplog.set_level(logging.INFO)
        authority.write(tmp_path, "two")
        await until(lambda: "for new connections" in caplog.text)
        assert await asyncio.to_thread(subject, port, authority) == "two"
        later = server.front_end._make_server()  # as a front end makes one to drain
        later_port = server.front_end._guard.add_port(later, "127.0.0.1:0")
        await later.start()
        assert await asyncio.to_thread(subject, later_port, authority) == "two"
        caplog.clear()
        authority.write(tmp_path, "three")
        await until(lambda: "for new connections" in caplog.text)
        for each in (later_port, port):
            assert await asyncio.to_thread(subject, each, authority) == "three"
        await later.stop(None)
        server.front_end._is_serving = True
        server.front_end._set_health()
        second = await call.read()
        assert second.status == health_pb2.HealthCheckResponse.SERVING
        call.cancel()
        with pytest.raises(grpc.aio.AioRpcError):  # no plain text
            async with server.channel() as plain:
                await list_models(plain, None)


async def test_a_client_certificate_is_required_and_names_the_caller(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority("stranger")
    cert, key = authority.write(tmp_path, "server")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate)
    security = SecurityConfig(tls=TlsConfig(cert, key, ca))
    async with front_end(security) as server:
        for signed_by in (None, stranger, authority):
            pair = (None, None) if signed_by is None else signed_by.issue("turbine-7\n")[::-1]
            credentials = grpc.ssl_channel_credentials(authority.certificate, *pair)
            async with server.channel(credentials) as channel:
                if signed_by is authority:
                    stub = speech_pb2_grpc.SpeechServiceStub(channel)
                    call = stub.StreamingRecognize(timeout=WAIT_S)
                    assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # no model
                else:
                    with pytest.raises(grpc.aio.AioRpcError) as error:
                        await list_models(channel, None)
                    assert error.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [caller.principal.name for caller in server.callers] == ["cert:turbine-7\\n"]


async def test_a_token_names_the_caller_before_a_certificate_does(tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.write(tmp_path, "server")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate)
    plain = records_of_plain([("phone", PLAIN)], KEY)
    security = SecurityConfig(tokens=plain, token_key=KEY, tls=TlsConfig(cert, key, ca))
    pair = authority.issue("turbine-7")[::-1]
    credentials = grpc.ssl_channel_credentials(authority.certificate, *pair)
    async with front_end(security) as server, server.channel(credentials) as channel:
        await refusal(channel, None)
        call = speech_pb2_grpc.SpeechServiceStub(channel).StreamingRecognize(
            metadata=(("authorization", f"Bearer {PLAIN}"),), timeout=WAIT_S
        )
        assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [caller.principal.name for caller in server.callers] == ["phone"]


def broken_files(folder: Path) -> dict[str, SecurityConfig]:
    authority = Authority()
    cert, key = authority.write(folder, "one")
    other = folder / "other.pem"
    other.write_bytes(authority.issue("two")[1])
    junk = folder / "junk.pem"
    junk.write_text("junk")
    tls = TlsConfig(cert, key, None)
    jwks = JwtConfig(junk, ISSUER, AUDIENCE, ("ES256",), 0.0, "")
    return {
        "are no certificate and its key": SecurityConfig(tls=replace(tls, key_file=other)),
        "in PEM": SecurityConfig(tls=replace(tls, cert_file=junk)),
        "cannot read": SecurityConfig(tls=replace(tls, cert_file=folder / "none.pem")),
        "holds no certificate": SecurityConfig(tls=replace(tls, client_ca_file=junk)),
        "tls_client_ca_file: cannot read": SecurityConfig(
            tls=replace(tls, client_ca_file=folder / "none.pem")
        ),
        "line 1: junk is not followed": SecurityConfig(tokens_file=junk),
        "jwt_jwks_file": SecurityConfig(jwt=jwks),
    }


async def test_files_that_cannot_be_used_at_start_are_named(tmp_path: Path) -> None:
    for says, security in broken_files(tmp_path).items():
        with pytest.raises((OSError, ValueError), match=says):
            guard.Guard(security)


def test_a_moved_link_is_a_change(tmp_path: Path) -> None:
    """How Kubernetes replaces a mounted secret: same content length, maybe the same time."""
    from siren_grpc.server.security.watched_files import WatchedFiles

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokens").write_text(name)
        os.utime(tmp_path / name / "tokens", (1, 1))
    link = tmp_path / "data"
    link.symlink_to("a")
    watched = WatchedFiles([link / "tokens"])
    assert not watched.have_changed()
    fresh = tmp_path / "data.new"
    fresh.symlink_to("b")
    fresh.rename(link)
    assert watched.have_changed()
    assert not watched.have_changed()
