"""What a running server says of itself agrees with what its clients did."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from siren.v1 import admin_pb2, admin_pb2_grpc, speech_pb2_grpc
from siren.v1 import speech_pb2 as pb

from siren_grpc.observe import metrics
from tests.support.audio import Recording, spoken_digits
from tests.support.otlp_collector import Collector
from tests.support.prometheus import scrape, scrape_until
from tests.support.server import SIREN, SirenServer
from tests.support.wire import END, Wire, audio, config, every, failure

pytestmark = pytest.mark.e2e

MODEL = "siren-mini-en"
CAPACITY = 6
_METRICS = re.compile(r"metrics on http://127.0.0.1:(\d+)/metrics")
_ADMIN = re.compile(r"admin service on 127.0.0.1:(\d+)")
_SERVING = re.compile(r'"message": "serving ')
_LISTENING = re.compile(r"listening on \S+:(\d+), loading")


class Observed:
    """A server that tells all it can, and a collector of its spans."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.server = SirenServer(
            *("--front-ends=2", f"--max-sessions={CAPACITY}", "--preview-ms=0"),
            *("--metrics-port=0", "--admin-port=0", "--channelz", "--tracing=steps"),
            "--log-format=json",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{self.collector.port}",
            OTEL_BSP_SCHEDULE_DELAY="200",
        )
        self.server.wait_for(_SERVING)
        self.target = f"127.0.0.1:{self.server.wait_for(_LISTENING).group(1)}"
        self.metrics_port = int(self.server.wait_for(_METRICS).group(1))
        self.admin_target = f"127.0.0.1:{self.server.wait_for(_ADMIN).group(1)}"
        self._admin_channel = grpc.insecure_channel(self.admin_target)
        self.admin = admin_pb2_grpc.AdminServiceStub(self._admin_channel)

    def close(self) -> None:
        self._admin_channel.close()
        self.server.close()
        self.collector.close()


@pytest.fixture(scope="module")
def observed() -> Iterator[Observed]:
    observed = Observed()
    try:
        yield observed
    finally:
        observed.close()


class OpenStream:
    """A stream that stays open until it is told to end, on a connection of its own."""

    all: ClassVar[list[OpenStream]] = []

    def __init__(self, target: str, recording: Recording, **fields: object) -> None:
        self._requests: queue.Queue[pb.StreamingRecognizeRequest | None] = queue.Queue()
        # Channels to one address share a connection otherwise, and with it a front end.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(target, options=own)
        hertz = recording.sample_rate_hertz
        self.send(config(sample_rate_hertz=hertz, **fields))
        self.send(audio(recording.pcm, 1))
        stub = speech_pb2_grpc.SpeechServiceStub(self._channel)
        self.call = stub.StreamingRecognize(iter(self._requests.get, None), timeout=240)
        OpenStream.all.append(self)
        self.started = next(self.call).started

    def send(self, request: pb.StreamingRecognizeRequest | None) -> None:
        self._requests.put(request)

    def end(self) -> list[pb.StreamingRecognizeResponse]:
        self.send(None)
        try:
            return list(self.call)
        finally:
            self._channel.close()

    def vanish(self) -> None:
        self.call.cancel()
        self.send(None)
        self._channel.close()


@pytest.fixture(autouse=True)
def no_stream_stays() -> Iterator[None]:
    """A test that fails must not take the sessions of the next."""
    yield
    while OpenStream.all:
        OpenStream.all.pop().vanish()


def seconds_of(recording: Recording) -> float:
    return len(recording.pcm) / 2 / recording.sample_rate_hertz


def test_metrics_are_what_was_streamed(observed: Observed) -> None:
    recordings = spoken_digits()[:3]
    before = scrape(observed.metrics_port)
    told, steps, audio_s = [], 0, 0.0
    for recording in recordings:
        wire = Wire(observed.target)
        hertz = recording.sample_rate_hertz
        requests = [config(sample_rate_hertz=hertz)]
        requests += [audio(data) for data in every(1600, recording.pcm)]
        call = wire.stub.StreamingRecognize(iter([*requests, END]))
        told += list(call)
        steps += int(dict(call.trailing_metadata())["siren-steps"])
        audio_s += seconds_of(recording)
        wire.close()
    wire = Wire(observed.target)
    whole = pb.RecognizeRequest(
        config=pb.StreamingConfig(sample_rate_hertz=recordings[0].sample_rate_hertz),
        audio=recordings[0].pcm,
    )
    answer, call = wire.stub.Recognize.with_call(whole)
    steps += int(dict(call.trailing_metadata())["siren-steps"])
    audio_s += seconds_of(recordings[0])
    refused = wire.exchange([config(model="no-such-model")])
    assert failure(refused.error).reason == "MODEL_NOT_FOUND"
    wire.close()
    lister = Wire(observed.target)
    lister.stub.ListModels(pb.ListModelsRequest())
    lister.close()
    leaving = OpenStream(observed.target, recordings[0])
    next(leaving.call)  # it has been heard
    leaving.vanish()
    finals = [r.final.text for r in told if r.HasField("final")]
    finals += [final.text for final in answer.results]
    n_partials = sum(r.HasField("partial") for r in told)

    def grown(name: str, **labels: str) -> float:
        return after.total(name, **labels) - before.total(name, **labels)

    after = scrape_until(
        observed.metrics_port, lambda now: now.total("siren_sessions_ended_total") >= 5
    )
    assert grown("siren_sessions_opened_total", model=MODEL, kind="live") == 4
    assert grown("siren_sessions_opened_total", model=MODEL, kind="recording") == 1
    assert after.by("siren_sessions_ended_total", "outcome") == {"OK": 4, "CANCELLED": 1}
    assert after.by("siren_calls_total", "outcome") == {
        "OK": 5,
        "CANCELLED": 1,
        "MODEL_NOT_FOUND": 1,
    }
    assert after.by("siren_calls_total", "method") == {
        "StreamingRecognize": 5,
        "Recognize": 1,
        "ListModels": 1,
    }
    heard_s = audio_s + seconds_of(recordings[0])
    assert grown("siren_audio_received_seconds_total") == pytest.approx(heard_s, abs=0.01)
    assert grown("siren_session_audio_seconds_sum") == pytest.approx(heard_s, abs=0.01)
    assert grown("siren_session_audio_seconds_count") == 5
    padded_s = grown("siren_audio_recognised_seconds_total")
    assert audio_s + 4 * 0.48 - 0.05 <= padded_s <= heard_s + 5 * 0.48 + 0.05
    # Of the stream that left, partials may have been handed over that it never read.
    assert 0 <= grown("siren_partials_total") - n_partials <= 10
    assert grown("siren_partial_latency_seconds_count") == grown("siren_partials_total")
    assert after.by("siren_finals_total", "cause") == {"end": 4}
    assert grown("siren_final_latency_seconds_count", kind="live") == 3
    assert grown("siren_final_latency_seconds_count", kind="recording") == 1
    assert 0 < grown("siren_final_latency_seconds_sum") < 4 * 30
    assert grown("siren_words_total") == sum(len(text.split()) for text in finals) > 0
    # Every chunk was in a step and waited for it; those of the stream that left may have been
    # under way.
    n_waited = grown("siren_queue_delay_seconds_count")
    assert steps <= n_waited <= grown("siren_step_batch_rows_sum") <= n_waited + 4
    assert 0 < grown("siren_queue_delay_seconds_count", kind="recording") < n_waited
    assert grown("siren_step_duration_seconds_count") == grown("siren_step_batch_rows_count")
    assert after.by("siren_step_batch_rows_sum", "kind").keys() == {"live", "recordings"}
    assert grown("siren_step_rows_failed_total") == 0
    assert after.total("siren_sessions_capacity", model=MODEL) == CAPACITY
    assert after.total("siren_serving") == 1
    assert after.total("siren_front_ends") == 2
    processes = {"engine", "front_end_1", "front_end_2"}
    assert after.by("siren_process_resident_memory_bytes", "process").keys() == processes
    assert after.total("siren_process_resident_memory_bytes", process="front_end_1") < 400e6
    assert after.by("siren_event_loop_lag_seconds_count", "process").keys() == processes
    assert after.total("siren_collect_failures_total") == 0


def test_what_is_declared_is_exported_and_nothing_else(observed: Observed) -> None:
    streams = [OpenStream(observed.target, spoken_digits()[0]) for _ in range(CAPACITY)]
    full = Wire(observed.target).exchange([config()])
    assert failure(full.error).reason == "OVERLOADED"
    found = scrape_until(
        observed.metrics_port, lambda now: now.total("siren_admissions_refused_total") >= 1
    )
    assert found.by("siren_admissions_refused_total", "cause") == {"sessions": 1}
    assert found.total("siren_sessions_active", model=MODEL) == CAPACITY
    for stream in streams:
        stream.end()
    found = scrape_until(observed.metrics_port, lambda now: now.total("siren_sessions_active") == 0)
    everywhere = {metric.name for metric in metrics.ALL if metric.is_everywhere}
    elsewhere = {metric.name for metric in metrics.ALL} - everywhere
    assert everywhere <= found.names <= everywhere | elsewhere
    assert found.total("siren_sessions_active") == 0


def received(row: admin_pb2.LiveSession) -> float:
    return row.audio_received.ToTimedelta().total_seconds()


def test_sessions_of_all_front_ends_are_listed_and_ended(observed: Observed) -> None:
    recording = spoken_digits()[0]
    streams: list[OpenStream] = []
    rows: list[admin_pb2.LiveSession] = []
    n_opened = 0
    while len({row.front_end for row in rows}) < 2:  # the system deals connections out
        if len(streams) == CAPACITY:
            streams.pop(0).end()
        streams.append(OpenStream(observed.target, recording, request_id=f"call-{n_opened}"))
        n_opened += 1
        rows = list(observed.admin.ListSessions(admin_pb2.ListSessionsRequest()).sessions)
        assert n_opened < 40
    assert {row.session_id for row in rows} == {s.started.session_id for s in streams}
    assert all(row.state == admin_pb2.SESSION_STATE_LIVE for row in rows)
    assert all(row.model == MODEL and row.request_id.startswith("call-") for row in rows)
    assert all(row.peer.startswith("ipv4:127.0.0.1:") for row in rows)
    end = time.monotonic() + 20
    heard_s = seconds_of(recording) - 0.05  # the resampler holds a little back
    while min(received(row) for row in rows) < heard_s:
        assert time.monotonic() < end, rows
        rows = list(observed.admin.ListSessions(admin_pb2.ListSessionsRequest()).sessions)
    assert max(received(row) for row in rows) <= seconds_of(recording) + 0.001
    assert all(row.audio_processed.ToTimedelta().total_seconds() <= received(row) for row in rows)
    assert [row.started_at.ToNanoseconds() for row in rows] == sorted(
        row.started_at.ToNanoseconds() for row in rows
    )
    ended = streams.pop()
    request = admin_pb2.EndSessionRequest(session_id=ended.started.session_id)
    assert observed.admin.EndSession(request).was_found
    responses = []
    with pytest.raises(grpc.RpcError) as error:
        responses += ended.call
    assert failure(error.value).reason == "SHUTTING_DOWN"
    ended.vanish()
    for stream in streams:
        assert stream.end()[-1].HasField("final")
    assert not observed.admin.EndSession(request).was_found
    with pytest.raises(grpc.RpcError) as empty:
        observed.admin.EndSession(admin_pb2.EndSessionRequest())
    assert failure(empty.value).reason == "INVALID_MESSAGE"


def test_a_request_that_is_none_is_told_by_the_admin_service_too(observed: Observed) -> None:
    with grpc.insecure_channel(observed.admin_target) as channel:
        call = channel.unary_unary("/siren.v1.AdminService/EndSession")
        with pytest.raises(grpc.RpcError) as error:
            call(b"\xff\xff", timeout=60)
    refused = failure(error.value)
    assert (refused.reason, refused.domain) == ("INVALID_MESSAGE", "siren")
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT


def test_an_ended_recording_has_no_finals(observed: Observed) -> None:
    hours = pb.RecognizeRequest(
        config=pb.StreamingConfig(
            sample_rate_hertz=8000, encoding=pb.AUDIO_ENCODING_MULAW, request_id="hours"
        ),
        audio=bytes(30_000_000),
    )
    with grpc.insecure_channel(observed.target) as channel:
        running = speech_pb2_grpc.SpeechServiceStub(channel).Recognize.future(hours, timeout=60)
        rows: list[admin_pb2.LiveSession] = []
        while not rows and not running.done():
            rows = list(observed.admin.ListSessions(admin_pb2.ListSessionsRequest()).sessions)
        (row,) = rows
        assert (row.state, row.request_id) == (admin_pb2.SESSION_STATE_RECORDING, "hours")
        request = admin_pb2.EndSessionRequest(session_id=row.session_id)
        assert observed.admin.EndSession(request).was_found
        with pytest.raises(grpc.RpcError) as error:
            running.result()
        assert failure(error.value).reason == "SHUTTING_DOWN"


def test_a_parked_stream_is_seen_and_can_be_given_up(observed: Observed) -> None:
    stream = OpenStream(observed.target, spoken_digits()[0], resumable=True)
    next(stream.call)
    stream.vanish()

    def parked() -> list[admin_pb2.LiveSession]:
        rows = observed.admin.ListSessions(admin_pb2.ListSessionsRequest()).sessions
        return [row for row in rows if row.state == admin_pb2.SESSION_STATE_PARKED]

    end = time.monotonic() + 20
    while not (rows := parked()) and time.monotonic() < end:
        time.sleep(0.05)
    assert [row.session_id for row in rows] == [stream.started.session_id]
    found = scrape_until(observed.metrics_port, lambda now: now.total("siren_streams_parked") == 1)
    assert found.total("siren_streams_parked") == 1
    status = observed.admin.GetServerStatus(admin_pb2.GetServerStatusRequest())
    assert (status.parked_streams, status.active_sessions) == (1, 1)
    assert status.session_capacity == CAPACITY
    assert status.state == admin_pb2.SERVER_STATE_SERVING
    assert [model.model for model in status.models] == [MODEL]
    assert list(status.models[0].language_codes) == ["en"]
    assert status.resident_bytes > 100e6
    request = admin_pb2.EndSessionRequest(session_id=stream.started.session_id)
    assert observed.admin.EndSession(request).was_found
    found = scrape_until(observed.metrics_port, lambda now: now.total("siren_sessions_active") == 0)
    assert found.total("siren_sessions_active") == 0


def test_the_command_shows_them(observed: Observed) -> None:
    stream = OpenStream(observed.target, spoken_digits()[0], request_id="shown")

    def siren(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(SIREN), "admin", *arguments, "--admin", observed.admin_target]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    listed = siren("sessions", "--json")
    (row,) = json.loads(listed.stdout)["sessions"]
    assert (row["requestId"], row["sessionId"]) == ("shown", stream.started.session_id)
    assert f"1 of {CAPACITY}" in siren("status").stdout
    assert siren("end", stream.started.session_id).stdout == "ended\n"
    with pytest.raises(grpc.RpcError):
        stream.end()
    assert siren("end", stream.started.session_id).returncode == 1


def test_the_pages_heartbeat_runs(observed: Observed) -> None:
    page = (Path(__file__).parents[2] / "docs/observability.md").read_text(encoding="utf-8")
    example, *_ = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    program = example.replace("127.0.0.1:50052", observed.admin_target)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert re.fullmatch(rf"\d+ {CAPACITY} \d\.\d+\n", done.stdout)


def read_orca(data: bytes) -> dict[int, list[float | tuple[str, float]]]:
    """Read an OrcaLoadReport by the wire format's own rules: doubles, and maps of them."""
    found: dict[int, list[float | tuple[str, float]]] = {}
    at = 0
    while at < len(data):
        number, kind = data[at] >> 3, data[at] & 7
        at += 1
        if kind == 1:
            found.setdefault(number, []).append(struct.unpack_from("<d", data, at)[0])
            at += 8
        else:
            assert kind == 2
            size = data[at]
            entry = data[at + 1 : at + 1 + size]
            at += 1 + size
            key = entry[2 : 2 + entry[1]].decode()
            rest = entry[2 + entry[1] :]
            value = struct.unpack("<d", rest[1:])[0] if rest else 0.0
            found.setdefault(number, []).append((key, value))
    return found


def test_balancers_are_told_the_load(observed: Observed) -> None:
    held = OpenStream(observed.target, spoken_digits()[0])
    share = 1 / CAPACITY
    with grpc.insecure_channel(observed.target) as channel:
        reports = channel.unary_stream("/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics")(
            b"", timeout=60
        )
        for data in reports:  # one a second, until it says what is the case
            report = read_orca(data)
            if ("sessions", share) in report.get(5, []):
                break
        reports.cancel()
    assert ("siren.sessions_active", 1.0) in report[8]
    assert ("siren.sessions_capacity", float(CAPACITY)) in report[8]
    assert report[9][0] >= share  # application_utilization
    assert 0 < report[2][0] < 1  # mem_utilization
    held.end()


@pytest.mark.parametrize("is_out_of_band", [True, False])
def test_grpcs_own_balancer_weighs_by_it(observed: Observed, is_out_of_band: bool) -> None:
    """gRPC keeps the trailer to itself: that it came is seen by the weight it gave the server."""
    program = f"""
import json, time, grpc
from siren.v1 import speech_pb2 as pb, speech_pb2_grpc
policy = {{"enableOobLoadReport": {is_out_of_band}, "oobReportingPeriod": "1s"}}
config = json.dumps({{"loadBalancingConfig": [{{"weighted_round_robin": policy}}]}})
channel = grpc.insecure_channel("{observed.target}", options=[("grpc.service_config", config)])
stub = speech_pb2_grpc.SpeechServiceStub(channel)
start = pb.StreamingRecognizeRequest(config=pb.StreamingConfig())
for _ in range(15):
    list(stub.StreamingRecognize(iter([start])))
    time.sleep(0.2)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "GRPC_TRACE": "weighted_round_robin_lb", "GRPC_VERBOSITY": "debug"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert re.search(r"weight_=(0\.0*[1-9]|[1-9])", done.stderr), done.stderr[-4000:]


def test_a_call_is_a_span_of_its_clients_trace(observed: Observed) -> None:
    trace_id, parent_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    recording = spoken_digits()[0]
    wire = Wire(observed.target)
    requests = [config(sample_rate_hertz=recording.sample_rate_hertz), audio(recording.pcm), END]
    call = wire.stub.StreamingRecognize(
        iter(requests), metadata=[("traceparent", f"00-{trace_id}-{parent_id}-01")]
    )
    responses = list(call)
    session = responses[0].started.session_id
    text = responses[-1].final.text
    (found,) = observed.collector.wait_for(
        lambda span: span.attributes.get("siren.session_id") == session
    )
    span = found.span
    assert span.name == "siren.v1.SpeechService/StreamingRecognize"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace_id, parent_id)
    assert found.attributes["siren.outcome"] == "OK"
    assert found.attributes["siren.model"] == MODEL
    assert found.attributes["siren.audio_s"] == pytest.approx(seconds_of(recording), abs=0.01)
    ((name, event),) = found.events
    assert (name, event["siren.words"]) == ("siren.final", len(text.split()))
    assert text not in str(span)
    steps = observed.collector.wait_for(
        lambda step: (
            step.span.name == "siren.step"
            and any(link.span_id == span.span_id for link in step.span.links)
        )
    )
    assert {step.process for step in steps} == {"engine"}
    assert all(step.attributes["siren.rows"] == 1 for step in steps)
    # A collector that is gone costs spans, never a stream.
    observed.collector.close()
    again = wire.recognise(recording.pcm, sample_rate_hertz=recording.sample_rate_hertz)
    assert again.text == text
    wire.close()


def test_channelz_knows_the_connections(observed: Observed) -> None:
    with grpc.insecure_channel(observed.target) as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        servers = stub.GetServers(channelz_pb2.GetServersRequest(start_server_id=0)).server
        assert sum(server.data.calls_started for server in servers) >= 1
        sockets = [
            name.name
            for server in servers
            for name in stub.GetServerSockets(
                channelz_pb2.GetServerSocketsRequest(server_id=server.ref.server_id)
            ).socket_ref
        ]
    assert any("127.0.0.1" in name for name in sockets)


def test_the_log_names_the_session_and_has_no_text(observed: Observed) -> None:
    recording = spoken_digits()[0]
    wire = Wire(observed.target)
    exchange = wire.recognise(
        recording.pcm, sample_rate_hertz=recording.sample_rate_hertz, request_id="order 66"
    )
    wire.close()
    session = exchange.of("started")[0].session_id
    observed.server.wait_for(re.compile(f"session {session}.*: ended"))
    lines = [json.loads(line) for line in observed.server.log.splitlines() if session in line]
    assert [line["message"].rpartition(": ")[2].split(",")[0] for line in lines] == [
        "started",
        "ended",
    ]
    for line in lines:
        assert line["level"] == "info"
        assert line["logger"].startswith("siren_grpc.server.")
        assert (line["session_id"], line["request_id"]) == (session, "order 66")
        assert re.fullmatch(r"front_end_[12]", line["process"])
        assert re.fullmatch(r"[\dT:.-]+Z", line["time"])
    assert lines[-1]["engine_session"] > 0
    assert len(lines[-1]["trace_id"]) == 32
    assert exchange.text not in observed.server.log


def test_it_stops_with_somebody_watching(observed: Observed) -> None:
    """Last: neither reports out of band nor a collector that is gone holds a stop up."""
    with grpc.insecure_channel(observed.target) as channel:
        reports = channel.unary_stream("/xds.service.orca.v3.OpenRcaService/StreamCoreMetrics")(b"")
        next(reports)
        observed.server.signal(signal.SIGTERM)
        started = time.monotonic()
        assert observed.server.wait() == 0
        assert time.monotonic() - started < 20  # seconds of it on a quiet machine
        reports.cancel()
