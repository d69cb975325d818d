from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import grpc
import numpy as np
import pytest
import soundfile
import typer
from grpc_health.v1 import health_pb2
from siren.v1 import speech_pb2 as pb
from typer.testing import CliRunner

from siren_client.cli import transcribe_many
from siren_client.cli.app import build_app
from siren_client.cli.batch import Delivered, Finished
from siren_client.cli.health import poll_health
from siren_client.cli.options import report
from siren_client.errors import FieldViolation, Reason, SirenError
from siren_client.types import Final, ServingStatus


@pytest.fixture
def run(echo, monkeypatch):
    """Run `siren` against the echo server."""
    monkeypatch.setenv("SIREN_SERVER", echo.target)
    for name in ("SIREN_TOKEN", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object):
        return CliRunner().invoke(build_app([]), [str(argument) for argument in arguments])

    return run


@pytest.fixture
def make_wav(tmp_path):
    def make_wav(name="talk.wav", *, n_samples=1600, sample_rate_hertz=16000, n_channels=1):
        samples = np.zeros((n_samples, n_channels), dtype=np.int16)
        soundfile.write(tmp_path / name, samples, sample_rate_hertz, subtype="PCM_16")
        return tmp_path / name

    return make_wav


def test_transcribe_prints_finals_only(run, make_wav):
    done = run("transcribe", make_wav(), "--fast")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "3200 bytes\n", "")


def test_transcribe_at_the_pace_of_speech_prints_the_same(run, make_wav):
    done = run("transcribe", make_wav(n_samples=16))
    assert (done.exit_code, done.stdout) == (0, "32 bytes\n")


def test_transcribe_sends_what_was_asked_for(run, make_wav, echo):
    wav = make_wav(n_samples=4410, sample_rate_hertz=44100)
    done = run(
        *("transcribe", wav, "--fast", "--message-ms", 50, "--model", "m", "--language", "en-US"),
        *("--chunk-frames", 2, "--decoder", "ctc", "--token", "secret"),
        *("--endpointing", "vad", "--min-silence-ms", 500, "--max-utterance-ms", 9000),
        *("--lower-case", "--itn", "--mask", "damn", "--mask", "heck", "--mask-profanity"),
    )
    assert done.exit_code == 0
    config, *audio, end = echo.service.requests
    assert end.control.action == pb.Control.ACTION_END
    assert config.config == pb.StreamingConfig(
        model="m",
        language_code="en-US",
        encoding=pb.AUDIO_ENCODING_LINEAR16,
        sample_rate_hertz=44100,
        chunk_frames=2,
        decoder=pb.DECODER_CTC,
        resumable=True,
        endpointing=pb.EndpointingConfig(
            detector=pb.EndpointingConfig.DETECTOR_VAD, min_silence_ms=500, max_utterance_ms=9000
        ),
        text=pb.TextOptions(
            lower_case=True,
            inverse_text_normalization=True,
            masked_words=["damn", "heck"],
            mask_profanity=True,
        ),
    )
    assert [len(request.audio.data) for request in audio] == [2 * 2205, 2 * 2205]
    assert echo.service.metadata["authorization"] == "Bearer secret"


def test_transcribe_sends_phrases_of_the_command_line_and_of_a_file(run, make_wav, echo, tmp_path):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("# places\n\n  winter river:4\nroom: nine\n", "utf-8")
    done = run(
        *("transcribe", make_wav(), "--fast", "--phrase", "siren", "--phrase", "kubernetes:3.5"),
        *("--phrases-file", phrases),
    )
    assert done.exit_code == 0
    assert echo.service.requests[0].config.biasing == pb.BiasingConfig(
        phrases=[
            pb.Phrase(text="siren"),
            pb.Phrase(text="kubernetes", boost=3.5),
            pb.Phrase(text="winter river", boost=4),
            pb.Phrase(text="room: nine"),
        ]
    )


def test_transcribe_refuses_a_phrases_file_that_is_no_text(run, make_wav):
    wav = make_wav(n_samples=4000)
    wav.write_bytes(wav.read_bytes() + b"\xff\xfe")
    done = run("transcribe", make_wav("other.wav"), "--fast", "--phrases-file", wav)
    assert done.exit_code == 2
    assert "is not text in UTF-8" in done.stderr


def test_transcribe_partials(run, make_wav):
    done = run("transcribe", make_wav(), "--fast", "--partials", "--message-ms", 50)
    assert done.stdout.splitlines() == ["[]1600 bytes", "[]3200 bytes", "3200 bytes"]


def test_transcribe_json(run, make_wav):
    wav = make_wav()
    done = run("transcribe", wav, "--fast", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["started", "partial", "final"]
    assert {line["file"] for line in lines} == {str(wav)}
    assert lines[0]["encoding"] == "linear16"
    assert lines[2] == {
        "type": "final",
        "file": str(wav),
        "text": "3200 bytes",
        "seq": 1,
        "start_s": 0.0,
        "end_s": 1.0,
        "cause": None,
        "audio_received_s": 0.0,
        "delay_s": 0.0,
        "spoken_text": "",
        "words": [],
        "confidence": None,
        "language_code": "",
        "alternatives": [],
        "channel": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "words", "partial_words"),
    [
        ((), False, False),
        (("--words",), True, False),
        (("--words", "--json"), True, True),
        (("--json",), False, False),
        (("--format", "srt"), True, False),
    ],
)
def test_transcribe_asks_for_the_words_it_shows(
    run, make_wav, echo, arguments, words, partial_words
):
    assert run("transcribe", make_wav(), "--fast", *arguments).exit_code == 0
    config = echo.service.requests[0].config
    assert (config.words, config.partial_words) == (words, partial_words)


def test_transcribe_names_several_files(run, make_wav):
    one = make_wav("one.wav", n_samples=1)
    two = make_wav("two.wav", n_samples=2)
    done = run("transcribe", "--fast", one, two)
    assert done.stdout.splitlines() == [
        f"==> {one} <==",
        "2 bytes",
        f"==> {two} <==",
        "4 bytes",
    ]


def test_one_that_fails_leaves_the_others_alone(run, make_wav, tmp_path):
    one, bad, two = make_wav("1.wav", n_samples=1), tmp_path / "2.wav", make_wav("3.wav")
    bad.write_text("not audio")
    done = run("transcribe", one, bad, two)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [f"==> {one} <==", "2 bytes", f"==> {two} <==", "3200 bytes"]
    assert "2 of 3 recordings" in done.stderr
    assert f"failed: {bad}: not a sound file" in done.stderr


def test_json_of_many_names_the_one_that_failed(run, make_wav, tmp_path):
    bad = tmp_path / "2.wav"
    bad.write_text("not audio")
    done = run("transcribe", make_wav("1.wav"), bad, "--json")
    (error,) = [
        line for line in map(json.loads, done.stdout.splitlines()) if line["file"] == str(bad)
    ]
    assert error.pop("message").startswith(f"{bad}: not a sound file")
    assert error == {"type": "error", "file": str(bad), "status": None, "reason": None}


def test_an_error_all_would_meet_ends_the_work(run, make_wav, echo):
    files = [make_wav(f"{number}.wav") for number in range(9)]
    done = run("transcribe", *files, "--server", "127.0.0.1:1", "--parallel", 2)
    assert done.exit_code == 1
    assert done.stderr.count("UNAVAILABLE: ") == 1
    assert "not recognised to the end, or not at all: 9" in done.stderr
    assert "Start one with `siren serve`" in done.stderr


class CutOff:
    """A batch of which the first recording is cut off, as Ctrl-C does, and the second is over."""

    is_given_up = False

    def __init__(self, *_, **__) -> None: ...

    def stop(self) -> None: ...

    def updates(self):
        yield Delivered(1, Final(text="second", seq=1, start_s=0.0, end_s=1.0))
        yield Finished(1, None)
        yield Delivered(0, Final(text="first", seq=1, start_s=0.0, end_s=1.0))


def test_what_is_done_is_printed_behind_one_that_was_cut_off(run, make_wav, monkeypatch):
    monkeypatch.setattr(transcribe_many, "Batch", CutOff)
    done = run("transcribe", make_wav("1.wav"), two := make_wav("2.wav"))
    assert done.stdout == f"==> {two} <==\nsecond\n"
    assert "not recognised to the end, or not at all: 1" in done.stderr


def test_a_full_server_is_waited_for(run, make_wav, echo):
    echo.service.n_refusals = 3
    files = [make_wav(f"{number}.wav", n_samples=number) for number in (1, 2, 3)]
    done = run("transcribe", *files, "--parallel", 2)
    assert done.exit_code == 0
    assert done.stderr.count("recordings wait their turn") == 1
    assert [line for line in done.stdout.splitlines() if "bytes" in line] == [
        "2 bytes",
        "4 bytes",
        "6 bytes",
    ]
    assert echo.service.n_refusals == 0


def test_results_beside_the_files_and_in_a_folder(run, make_wav, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    make_wav("in/a.wav", n_samples=1)
    make_wav("in/deep/b.wav", n_samples=2)
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    done = run("transcribe", "-r", tmp_path / "in", "--output-dir", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (0, "")
    written = {path.relative_to(tmp_path / "out"): path for path in (tmp_path / "out").rglob("*.*")}
    assert {str(name): path.read_text() for name, path in written.items()} == {
        "a.txt": "2 bytes\n",
        "deep/b.txt": "4 bytes\n",
    }
    done = run("transcribe", tmp_path / "in" / "a.wav", "--beside", "--json")
    kinds = [
        json.loads(line)["type"] for line in (tmp_path / "in/a.jsonl").read_text().splitlines()
    ]
    assert kinds == ["started", "final"]


def test_a_result_that_cannot_be_written_is_a_failure(run, make_wav, tmp_path):
    (tmp_path / "talk.txt").mkdir()
    done = run("transcribe", make_wav(), "--beside")
    assert done.exit_code == 1
    assert "its result cannot be written" in done.stderr


def test_transcribe_mixes_channels_down_and_says_so(run, make_wav):
    done = run("transcribe", make_wav(n_channels=2), "--fast")
    assert (done.exit_code, done.stdout) == (0, "3200 bytes\n")
    assert "2 channels, mixed down to one" in done.stderr


def test_colours_that_are_forced_make_no_terminal_of_a_pipe(run, make_wav, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("transcribe", make_wav("1.wav"), "--fast").stdout == "3200 bytes\n"
    done = run("transcribe", make_wav("1.wav"), make_wav("2.wav"))
    assert "\x1b[?25l" not in done.stderr, "it hides the cursor"


def test_transcribe_reports_the_servers_error(run, make_wav):
    done = run("transcribe", make_wav(), "--fast", "--model", "flood")
    assert done.exit_code == 1
    assert done.stdout.startswith("0 bytes\n1 bytes\n")
    assert "error: OVERLOADED: no session is free\nTry again in 2.5 s.\n" in done.stderr


@pytest.mark.parametrize("command", [["models"], ["health"], ["transcribe", "--fast", "WAV"]])
def test_no_server_says_how_to_start_one(run, make_wav, command):
    wav = make_wav()
    arguments = [wav if argument == "WAV" else argument for argument in command]
    done = run(*arguments, "--server", "127.0.0.1:1")
    assert done.exit_code == 1
    assert "No server answers at 127.0.0.1:1. Start one with `siren serve`" in done.stderr


def test_a_token_that_cannot_be_sent_is_wrong_usage(run, make_wav, tmp_path):
    for name, content in [("empty", b"\n"), ("two words", b"a b"), ("sound", b"\xff\xfe\xfd")]:
        file = tmp_path / name
        file.write_bytes(content)
        done = run("transcribe", make_wav(), "--token-file", file)
        assert done.exit_code == 2
        assert f"error: {file}: " in done.stderr
    assert run("models", "--token", "a b").exit_code == 2


def test_a_terminal_is_no_audio(run, monkeypatch, echo):
    monkeypatch.setattr("os.isatty", lambda descriptor: descriptor == 0)
    done = run("transcribe", "-")
    assert done.exit_code == 2
    assert "siren transcribe -`" in done.stderr
    assert echo.service.requests == []


def test_a_field_that_is_refused_is_named_once(capsys):
    error = SirenError(
        grpc.StatusCode.INVALID_ARGUMENT,
        "config.decoder: no",
        reason=Reason.INVALID_CONFIG,
        violations=(
            FieldViolation("config.decoder", "no"),
            FieldViolation("config.model", "nor that"),
        ),
    )
    report(error, "host:1")
    said = capsys.readouterr().err
    assert said.count("config.decoder") == 1
    assert "  config.model: nor that" in said


def test_wrong_usage_is_2(run, make_wav, tmp_path, echo):
    text = tmp_path / "notes.wav"
    text.write_text("not audio")
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ([tmp_path / "missing.wav"], "no such file or folder"),
        ([tmp_path / "missing*.wav"], "no file matches"),
        ([tmp_path / "empt*"], "no file matches"),
        ([tmp_path / "empty"], "no sound file in this folder (--recursive"),
        ([text], "not a sound file"),
        ([make_wav("high.wav", sample_rate_hertz=96000)], "96000 Hz"),
        ([make_wav("ok.wav"), "-"], "`-` goes alone"),
        (["-", "--beside"], "standard input has no place beside it"),
        ([make_wav(), "--rate", 8000], "--encoding, --rate and --channel-count are for `-`"),
        ([make_wav(), "--json", "--format", "srt"], "--json and --format"),
        ([make_wav("a.wav"), make_wav("b.wav"), "--format", "vtt"], "--beside, or --output-dir"),
        ([make_wav(), "--beside", "--output-dir", tmp_path], "name two places"),
        ([make_wav(), "--chunk-frames", 0], "Invalid value"),
        ([make_wav(), "--decoder", "beam"], "Invalid value"),
        ([], "Missing argument"),
    ]:
        done = run("transcribe", *arguments)
        assert done.exit_code == 2, arguments
        assert message in done.stderr
    assert echo.service.requests == []


def test_models_table(run):
    done = run("models")
    assert done.exit_code == 0
    for text in ("echo *", "byte-counter", "en-US", "16000 Hz", "rnnt"):
        assert text in done.stdout


def test_models_json(run):
    (model,) = json.loads(run("models", "--json").stdout)
    assert model["id"] == "echo"
    assert model["look_aheads"] == [{"chunk_frames": 7, "latency_ms": 560, "is_default": True}]


def test_models_of_a_server_that_loads_its_first(run, echo):
    echo.service.is_loaded = False
    done = run("models")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "siren health --wait 60" in done.stderr
    done = run("models", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])


def test_health(run, echo):
    done = run("health")
    assert (done.exit_code, done.stdout) == (0, "SERVING\n")
    echo.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    done = run("health")
    assert (done.exit_code, done.stdout) == (1, "NOT_SERVING\n")
    assert "--wait SECONDS" in done.stderr
    done = run("health", "--service", "other", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {
        "server": echo.target,
        "service": "other",
        "status": "service_unknown",
    }


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def clock(self) -> float:
        return self.now_s

    def sleep(self, time_s: float) -> None:
        self.now_s += time_s


def poll(answers, *, wait_s):
    fake = FakeTime()
    left = iter(answers)

    def check():
        answer = next(left)
        if isinstance(answer, grpc.StatusCode):
            raise SirenError(answer, "no answer")
        return answer

    return poll_health(check, wait_s=wait_s, clock=fake.clock, sleep=fake.sleep), fake.now_s - 100


def test_polling_waits_until_the_server_serves():
    starting = [grpc.StatusCode.UNAVAILABLE, ServingStatus.NOT_SERVING, ServingStatus.SERVING]
    assert poll(starting, wait_s=60) == (ServingStatus.SERVING, 1.0)


def test_polling_gives_the_last_answer_when_the_time_is_up():
    status, waited_s = poll([ServingStatus.NOT_SERVING] * 9, wait_s=1.2)
    assert status is ServingStatus.NOT_SERVING
    assert waited_s == pytest.approx(1.2)
    with pytest.raises(SirenError):
        poll([grpc.StatusCode.UNAVAILABLE], wait_s=0)


def test_polling_does_not_wait_for_what_waiting_cannot_mend():
    with pytest.raises(SirenError):
        poll([grpc.StatusCode.UNAUTHENTICATED], wait_s=60)


def test_version(run):
    done = run("--version")
    assert done.exit_code == 0
    assert done.stdout.startswith("siren 0.")


@pytest.mark.parametrize("command", ["transcribe", "listen", "models", "health"])
def test_help_has_examples(run, command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Examples" in done.stdout


def register_greeting(app: typer.Typer) -> None:
    @app.command()
    def greet() -> None:
        """Say hello."""
        typer.echo("hello")


@pytest.fixture
def plugin_module(monkeypatch):
    module = type(sys)("siren_test_plugin")
    module.register = register_greeting
    monkeypatch.setitem(sys.modules, "siren_test_plugin", module)


def entry_point(value: str) -> EntryPoint:
    return EntryPoint(name="test", value=value, group="siren.commands")


def test_other_distributions_add_commands(plugin_module):
    app = build_app([entry_point("siren_test_plugin:register")])
    assert CliRunner().invoke(app, ["greet"]).stdout == "hello\n"


def test_a_broken_distribution_leaves_the_commands_alone(capsys):
    app = build_app([entry_point("no_such_module:register")])
    assert "no_such_module:register are not available" in capsys.readouterr().err
    assert CliRunner().invoke(app, ["--version"]).exit_code == 0


def test_without_the_extra_it_says_how_to_install_it():
    program = """
import sys
sys.modules["typer"] = None
from siren_client.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'siren-grpc-client[cli]'" in done.stderr
