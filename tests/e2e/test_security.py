"""A server for several principals, over TLS: what each may have, and what nobody else learns."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_client import Final, FinalCause, Partial, Resumed, SirenClient, SirenError, Tls
from siren_grpc.domain.principal import Quota
from siren_grpc.server.security.tokens import TokenRecord, new_token, to_line
from tests.support.audio import spoken_digits
from tests.support.certificates import Authority
from tests.support.server import SIREN, SirenServer, serving
from tests.support.tcp_pipe import TcpPipe
from tests.support.wire import END, audio, config, every, failure

pytestmark = pytest.mark.e2e

DIGITS = spoken_digits()[0]
HERTZ = DIGITS.sample_rate_hertz
LONG = DIGITS.pcm * 6
LONG_TEXT = " ".join([DIGITS.reference] * 6)
BACKLOG_S = 4.0
PLAIN = "a-token-of-the-environment"
WAIT_S = 60.0


@dataclass
class Secured:
    server: SirenServer
    authority: Authority
    tokens_file: Path
    tokens: dict[str, str]
    records: dict[str, TokenRecord]

    @property
    def tls(self) -> Tls:
        return Tls(root_certificates=self.authority.certificate)

    def client(self, name: str, target: str | None = None) -> SirenClient:
        return SirenClient(
            target or self.server.target, credentials=self.tls, token=self.tokens[name]
        )

    def write(self, *without: str) -> None:
        lines = [to_line(r) for name, r in self.records.items() if name not in without]
        fresh = self.tokens_file.with_suffix(".new")
        fresh.write_text("\n".join(lines))
        fresh.rename(self.tokens_file)

    def stub(self) -> tuple[grpc.Channel, speech_pb2_grpc.SpeechServiceStub]:
        """Make a connection of its own, to whichever front end."""
        channel = grpc.secure_channel(
            self.server.target,
            self.tls.to_credentials(),
            options=[("grpc.use_local_subchannel_pool", 1)],
        )
        return channel, speech_pb2_grpc.SpeechServiceStub(channel)

    def metadata(self, name: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.tokens[name]}"),)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority()
    (folder / "ca.pem").write_bytes(authority.certificate)
    cert, key = authority.write(folder, "siren")
    quotas = {
        "phone": Quota(),
        "guest": Quota(),
        "small": Quota(sessions=2),
        "metered": Quota(audio_s_per_hour=3.0),
    }
    made = {name: new_token(name, quota) for name, quota in quotas.items()}
    tokens = {**{name: token for name, (token, _) in made.items()}, "laptop": PLAIN}
    records = {name: record for name, (_, record) in made.items()}
    file = folder / "tokens.txt"
    file.write_text("\n".join(to_line(record) for record in records.values()))
    with serving(
        *("--host", "0.0.0.0", "--tokens-file", str(file), "--log-level", "debug"),
        *("--tls-cert-file", str(cert), "--tls-key-file", str(key), "--health-port", "0"),
        *("--front-ends", "2", "--max-sessions", "24", "--no-open-reflection"),
        program=(str(SIREN),),
        SIREN_TOKENS=f"laptop={PLAIN}",
    ) as server:
        yield Secured(server, authority, file, tokens, records)


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def text_of(client: SirenClient, pcm: bytes = DIGITS.pcm) -> str:
    return client.recognize(pcm, sample_rate_hertz=HERTZ).text


def test_the_commands_with_a_token_file_and_an_authority(secured: Secured, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(secured.tokens["phone"] + "\n")
    ca = secured.tokens_file.with_name("ca.pem")
    health = secured.server.wait_for(re.compile(r"health alone, in plain text, on port (\d+)"))

    def siren(*arguments: str, target: str = secured.server.target) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(SIREN), *arguments, "--server", target],
            env={name: value for name, value in os.environ.items() if name != "SIREN_TOKEN"},
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )

    wav = Path(__file__).parents[1] / "data/recordings" / f"{DIGITS.name}.wav"
    said = siren("transcribe", str(wav), "--fast", "--ca", str(ca), "--token-file", str(file))
    assert (said.returncode, said.stdout.strip()) == (0, DIGITS.reference), said.stderr
    nobody = siren("transcribe", str(wav), "--fast", "--ca", str(ca))
    assert nobody.returncode == 1
    assert "AUTH_FAILED" in nobody.stderr
    assert "--token-file" in nobody.stderr
    assert siren("health", "--ca", str(ca)).stdout == "SERVING\n"
    assert siren("health", target=f"127.0.0.1:{health[1]}").stdout == "SERVING\n"


def test_sessions_of_a_token_are_counted_over_all_front_ends(secured: Secured) -> None:
    channels, calls = [], []
    refused = []
    for _ in range(8):
        channel, stub = secured.stub()
        channels.append(channel)
        hold = iter([config(sample_rate_hertz=HERTZ)])

        def requests(hold=hold) -> Iterator[pb.StreamingRecognizeRequest]:
            yield from hold
            time.sleep(WAIT_S)

        call = stub.StreamingRecognize(
            requests(), metadata=secured.metadata("small"), timeout=WAIT_S
        )
        try:
            assert next(call).HasField("started")
            calls.append(call)
        except grpc.RpcError as error:
            refused.append(failure(error))
    assert len(calls) == 2
    assert {(r.code, r.reason) for r in refused} == {
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    }
    assert all("quota of small is reached: sessions at once, 2" in r.message for r in refused)
    assert all(r.retry_after_s for r in refused)
    with secured.client("phone") as others:
        assert text_of(others) == DIGITS.reference

    def is_free() -> bool:
        try:
            with secured.client("small") as client:
                return text_of(client) == DIGITS.reference
        except SirenError:
            return False

    assert not is_free()
    calls[0].cancel()
    until(is_free)
    for channel in channels:
        channel.close()


def test_a_stream_ends_behind_its_final_when_its_audio_is_used_up(secured: Secured) -> None:
    results = []
    with secured.client("metered") as client:
        stream = client.stream(every(3200, LONG * 4), sample_rate_hertz=HERTZ)
        with pytest.raises(SirenError, match="seconds of audio in an hour, 3"):
            results.extend(iter(lambda: next(stream), None))
        (final,) = [result for result in results if isinstance(result, Final)]
        assert final.cause is FinalCause.SESSION_LIMIT
        assert LONG_TEXT.startswith(" ".join(final.text.split()[:4]))
        assert 3.0 <= final.end_s < 3.0 + BACKLOG_S + 1.0
        for again in (
            lambda: list(client.stream([b""], sample_rate_hertz=HERTZ)),
            lambda: text_of(client),
        ):
            with pytest.raises(SirenError) as refused:
                again()
            assert refused.value.reason == "OVERLOADED"
            assert refused.value.retry_after_s is not None
            assert 0 < refused.value.retry_after_s < 3700
    with secured.client("laptop") as others:
        assert text_of(others) == DIGITS.reference


def test_a_removed_token_ends_its_streams_and_no_others(secured: Secured) -> None:
    def run(name: str, wait: Callable[[], None]) -> tuple[list, SirenError | None]:
        results: list = []

        def speech() -> Iterator[bytes]:
            yield from every(3200, DIGITS.pcm)
            wait()

        with secured.client(name) as client:
            try:
                for result in client.stream(speech(), sample_rate_hertz=HERTZ):
                    results.append(result)
            except SirenError as error:
                return results, error
        return results, None

    def remove() -> None:
        secured.write("guest")
        time.sleep(WAIT_S)

    def wait_for_removal() -> None:
        secured.write("guest")

        def is_gone() -> bool:
            with secured.client("guest") as client:
                try:
                    client.list_models()
                except SirenError as error:
                    return error.reason == "AUTH_FAILED"
            return False

        until(is_gone)

    results, error = run("guest", remove)
    assert error is not None
    assert (error.status, error.reason) == (grpc.StatusCode.UNAUTHENTICATED, "AUTH_FAILED")
    (final,) = [result for result in results if isinstance(result, Final)]
    assert final.text.split()[:3] == DIGITS.reference.split()[:3]
    assert final.cause is FinalCause.SESSION_LIMIT
    secured.write()
    with secured.client("guest") as client:
        until(lambda: _answers(client))
    results, error = run("phone", wait_for_removal)
    assert error is None
    assert results[-1].text == DIGITS.reference


def _answers(client: SirenClient) -> bool:
    try:
        return bool(client.list_models())
    except SirenError:
        return False


def test_nobody_else_goes_on_with_a_stream(secured: Secured) -> None:
    channel, stub = secured.stub()

    def requests() -> Iterator[pb.StreamingRecognizeRequest]:
        yield config(sample_rate_hertz=HERTZ, resumable=True)
        yield from (audio(data) for data in every(3200, DIGITS.pcm))
        time.sleep(WAIT_S)

    call = stub.StreamingRecognize(requests(), metadata=secured.metadata("phone"), timeout=WAIT_S)
    token = next(call).started.resume_token
    assert token
    for discard in (False, True):
        resume = pb.StreamingRecognizeRequest(resume=pb.Resume(token=token, discard=discard))
        with pytest.raises(grpc.RpcError) as error:
            list(stub.StreamingRecognize(iter([resume]), metadata=secured.metadata("laptop")))
        stolen = failure(error.value)
        assert (stolen.reason, stolen.fields) == ("INVALID_CONFIG", ("resume.token",))
    assert next(call).WhichOneof("response") in ("event", "partial"), "its owner has it still"
    resume = pb.StreamingRecognizeRequest(resume=pb.Resume(token=token))
    again = stub.StreamingRecognize(iter([resume, END]), metadata=secured.metadata("phone"))
    (final,) = [r.final.text for r in again if r.HasField("final")]
    assert final.split()[:2] == DIGITS.reference.split()[:2]
    channel.close()


def test_a_stream_resumes_with_the_token_of_now(secured: Secured) -> None:
    second, record = new_token("phone")
    secured.records["phone, too"] = record
    secured.write()
    asked: list[str] = []

    def token_of_now() -> str:
        asked.append("second" if asked else "first")
        return second if asked[-1] == "second" else secured.tokens["phone"]

    proxy = TcpPipe(secured.server.target)
    try:
        with (
            secured.client("phone") as direct,
            SirenClient(proxy.target, credentials=secured.tls, token=token_of_now) as client,
        ):
            # The new one is good before the connection breaks.
            with SirenClient(secured.server.target, credentials=secured.tls, token=second) as new:
                until(lambda: _answers(new))
            whole = text_of(direct, LONG)

            is_cut = threading.Event()

            def speech() -> Iterator[bytes]:
                for number, data in enumerate(every(3200, LONG)):
                    if number == 30:
                        is_cut.wait(WAIT_S)
                    yield data

            results = []
            for result in client.stream(speech(), sample_rate_hertz=HERTZ):
                results.append(result)
                if isinstance(result, Partial) and not is_cut.is_set():
                    proxy.cut()
                    is_cut.set()
            assert [result.text for result in results if isinstance(result, Final)] == [whole]
            assert any(isinstance(result, Resumed) for result in results)
            assert asked[0] == "first"
            assert set(asked[1:]) == {"second"}
    finally:
        proxy.close()


def test_the_log_tells_names_and_neither_tokens_nor_words(secured: Secured) -> None:
    with secured.client("phone") as client:
        options = {"sample_rate_hertz": HERTZ, "phrases": ["quokka"], "mask": ["wombat"]}
        results = list(client.stream(every(3200, DIGITS.pcm), words=True, **options))  # type: ignore[arg-type]
        assert results[-1].text == DIGITS.reference  # type: ignore[union-attr]
        with pytest.raises(SirenError):
            list(client.stream([b""], model="none", **options))  # type: ignore[arg-type]
        for wrong in ({"phrases": ["\u732b quokka"]}, {"mask": ["two wombats"]}):
            with pytest.raises(SirenError, match="INVALID_CONFIG"):
                list(client.stream([b""], **wrong))  # type: ignore[arg-type]
    with (
        SirenClient(
            secured.server.target, credentials=secured.tls, token="siren_of_nobody_at_all"
        ) as stranger,
        pytest.raises(SirenError),
    ):
        stranger.list_models()
    secured.server.wait_for(re.compile(r"ListModels from \S+: AUTH_FAILED"))
    secured.server.wait_for(re.compile(r"session \w{32} \(of phone\): ended"))
    log = secured.server.log
    assert " DEBUG " in log, "this log shows all there is"
    for token in (*secured.tokens.values(), "siren_of_nobody_at_all"):
        assert token not in log
    for name, record in secured.records.items():
        if name in secured.tokens:
            assert secured.tokens[name].split("_", 2)[2] not in log
        assert record.digest.hex() not in log
    said = DIGITS.reference.split()
    for words in (f"{said[0]} {said[1]}", f"'{said[0]}'", "quokka", "wombat"):
        assert words not in log
    environment = replace(secured).server.pid
    arguments = Path(f"/proc/{environment}/cmdline").read_bytes()
    assert PLAIN.encode() not in arguments
