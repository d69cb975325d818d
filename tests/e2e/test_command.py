"""The `siren` command against a real server and model."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import webvtt

from siren_client import Final, SirenClient
from siren_client.subtitles import to_cues
from tests.support.audio import RECORDINGS, Recording, spoken_digits
from tests.support.programs import miss
from tests.support.server import SIREN, SirenServer

pytestmark = pytest.mark.e2e

WAIT_S = 120.0


@pytest.fixture
def siren(running_server: SirenServer):
    """Run `siren` against the shared server."""

    def siren(*arguments: object, stdin: bytes = b"", **environment: str):
        return subprocess.run(
            [str(SIREN), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=WAIT_S,
            env={**os.environ, "SIREN_SERVER": running_server.target, **environment},
        )

    return siren


@pytest.fixture(scope="module")
def digits() -> Recording:
    return spoken_digits()[0]


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory) -> Path:
    """Every 16 kHz recording of digits, eight times over."""
    samples = [r.samples for r in spoken_digits() if r.sample_rate_hertz == 16000] * 8
    path = tmp_path_factory.mktemp("long") / "talk.wav"
    soundfile.write(path, np.concatenate(samples), 16000, subtype="PCM_16")
    return path


def finals_of(path: Path, server: SirenServer) -> list[Final]:
    recording, rate = soundfile.read(path, dtype="int16")
    with SirenClient(server.target) as client:
        results = client.stream([recording.tobytes()], sample_rate_hertz=rate)
        return [result for result in results if isinstance(result, Final)]


def test_many_files_with_one_that_is_damaged(siren, tmp_path, long_recording):
    folder = tmp_path / "talks"
    folder.mkdir()
    for recording in spoken_digits():
        name = folder / f"{recording.name}.flac"
        soundfile.write(name, recording.samples, recording.sample_rate_hertz)
    damaged = folder / "damaged.flac"
    soundfile.write(damaged, *soundfile.read(long_recording, dtype="int16"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])

    done = siren("transcribe", folder, "--output-dir", tmp_path / "texts", "--parallel", 3)

    assert done.returncode == 1
    assert done.stdout == b""
    stderr = done.stderr.decode()
    assert f"{len(spoken_digits())} of {len(spoken_digits()) + 1} recordings" in stderr
    (failed,) = [line for line in stderr.splitlines() if line.startswith("failed: ")]
    assert failed.startswith(f"failed: {damaged}: INVALID_AUDIO: the audio ends within a FLAC")
    texts = {path.stem: path.read_text().strip() for path in (tmp_path / "texts").iterdir()}
    assert texts == {recording.name: recording.reference for recording in spoken_digits()}


def test_a_wav_file_is_taken_by_name_as_through_standard_input(siren, tmp_path):
    (recording,) = [r for r in spoken_digits() if r.name == "digits-ked-8k"]
    whole = bytearray((RECORDINGS / "digits-ked-8k.wav").read_bytes())
    path = tmp_path / "talk.wav"
    path.write_bytes(whole[:-1000])
    done = siren("transcribe", "--fast", path)
    assert done.returncode == 1
    assert b"INVALID_AUDIO: the audio ends within the WAV file's data" in done.stderr
    heard = done.stdout
    assert heard.strip(), "what was heard comes first"
    done = siren("transcribe", "--encoding", "auto", "-", stdin=path.read_bytes())
    assert (done.returncode, done.stdout) == (1, heard)
    for at in (4, 40):  # as a recorder leaves them that is still at work
        whole[at : at + 4] = bytes(4)
    path.write_bytes(whole)
    done = siren("transcribe", "--fast", path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().strip() == recording.reference


@pytest.mark.parametrize("file_format", ["srt", "vtt"])
def test_subtitles_of_a_recording(siren, running_server, long_recording, file_format):
    done = siren("transcribe", "--format", file_format, long_recording)

    assert (done.returncode, done.stderr) == (0, b"")
    cues = webvtt.from_buffer(io.BytesIO(done.stdout), format=file_format)
    finals = finals_of(long_recording, running_server)
    said = " ".join(final.text for final in finals).split()
    assert len(said) > 100
    assert " ".join(cue.text for cue in cues).split() == said
    duration_s = soundfile.info(long_recording).duration
    times = [time_s for cue in cues for time_s in (cue.start_in_seconds, cue.end_in_seconds)]
    assert times == sorted(times)
    assert len(cues) >= duration_s / 7
    assert cues[-1].end_in_seconds <= duration_s
    assert all(len(line) <= 42 for cue in cues for line in cue.lines)
    assert all(len(cue.lines) <= 2 for cue in cues)
    assert len(cues) == len(to_cues(finals))


def test_silence_has_no_subtitles(siren):
    done = siren("transcribe", "--format", "srt", RECORDINGS / "silence.wav")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr == b"note: no speech was recognised\n"


def test_raw_audio_from_standard_input(siren, digits):
    done = siren("transcribe", "-", "--rate", digits.sample_rate_hertz, stdin=digits.pcm)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == f"{digits.reference}\n"
    floats = (digits.samples / 32768).astype("<f4").tobytes()
    arguments = ("--encoding", "float32", "--rate", digits.sample_rate_hertz, "--json")
    done = siren("transcribe", "-", *arguments, stdin=floats)
    final = json.loads(done.stdout.splitlines()[-1])
    assert (final["type"], final["file"], final["text"]) == ("final", "-", digits.reference)


def test_a_wav_file_on_standard_input_is_refused_with_the_next_step(siren):
    wav = (RECORDINGS / "digits-ked-8k.wav").read_bytes()
    done = siren("transcribe", "-", stdin=wav)
    assert done.returncode == 1
    assert b"standard input is a WAV file" in done.stderr
    assert b"arecord -t raw" in done.stderr


def start(server: SirenServer, *arguments: object, **pipes) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(SIREN), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SIREN_SERVER": server.target},
        **pipes,
    )


def test_lines_come_at_once_and_ctrl_c_gives_the_last_final(running_server, digits):
    command = start(
        *(running_server, "transcribe", "-", "--json", "--rate", digits.sample_rate_hertz),
        stdin=subprocess.PIPE,
    )
    with command:
        command.stdin.write(digits.pcm)
        command.stdin.flush()  # and no end: the microphone goes on
        while json.loads(command.stdout.readline())["type"] != "partial":
            pass
        command.send_signal(signal.SIGINT)
        *_, final = [json.loads(line) for line in command.stdout]
        assert final["type"] == "final"
        assert final["text"]
        assert digits.reference.startswith(final["text"])
        assert command.stderr.read() == b""
        assert command.wait(WAIT_S) == 0


def test_ctrl_c_keeps_what_is_done_and_says_what_is_not(running_server, tmp_path, long_recording):
    short = RECORDINGS / "digits-ked-8k.wav"
    longer = [tmp_path / f"{number}.wav" for number in range(4)]
    samples, rate = soundfile.read(long_recording, dtype="int16")
    for path in longer:
        soundfile.write(path, np.tile(samples, 60), rate)
    out = tmp_path / "out"
    command = start(
        *(running_server, "transcribe", short, *longer),
        *("--output-dir", out, "--parallel", 2),
    )
    with command:
        deadline = time.monotonic() + WAIT_S
        while not (out / "digits-ked-8k.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        command.send_signal(signal.SIGINT)
        stderr = command.stderr.read().decode()
        assert command.wait(WAIT_S) == 130
    assert "1 of 5 recordings" in stderr
    assert "not recognised to the end, or not at all: 4" in stderr
    assert [path.name for path in out.iterdir()] == ["digits-ked-8k.txt"]


def test_ctrl_c_on_a_compressed_file_is_no_damage(running_server, tmp_path, long_recording):
    path = tmp_path / "talk.flac"
    soundfile.write(path, *soundfile.read(long_recording, dtype="int16"))
    with start(running_server, "transcribe", path, "--json", "--partials") as command:
        while json.loads(command.stdout.readline())["type"] != "partial":
            pass
        command.send_signal(signal.SIGINT)
        assert b"INVALID_AUDIO" not in command.stdout.read() + command.stderr.read()
        assert command.wait(WAIT_S) == 130


@pytest.mark.parametrize("n_files", [1, 3])
def test_a_reader_that_goes_ends_it_quietly(running_server, tmp_path, long_recording, n_files):
    files = [tmp_path / f"{number}.wav" for number in range(n_files)]
    for path in files:
        path.write_bytes(long_recording.read_bytes())
    command = start(running_server, "transcribe", "--json", "--fast", *files)
    with command:
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(WAIT_S) == 141


ASOUNDRC = """
pcm.!default {{ type file; slave.pcm null; file /dev/null; infile "{audio}"; format raw }}
pcm.null {{ type null }}
"""


def portaudio_hears_files(tmp_path: Path) -> bool:
    program = "import sounddevice; sounddevice.check_input_settings(channels=1, samplerate=16000)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "ALSA_CONFIG_PATH": str(tmp_path / "asoundrc")},
        capture_output=True,
        check=False,
        timeout=WAIT_S,
    )
    return done.returncode == 0


def test_listen_to_a_real_sound_device(running_server, tmp_path):
    """ALSA's device that plays a file into PortAudio; nothing paces it, so audio is lost."""
    (recording,) = [r for r in spoken_digits() if r.name == "digits-male-16k"]
    (tmp_path / "audio.raw").write_bytes(recording.pcm)
    (tmp_path / "asoundrc").write_text(ASOUNDRC.format(audio=tmp_path / "audio.raw"))
    if not portaudio_hears_files(tmp_path):
        miss("PortAudio with ALSA, or sounddevice, is not installed")
    with subprocess.Popen(
        [str(SIREN), "listen", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "SIREN_SERVER": running_server.target,
            "ALSA_CONFIG_PATH": str(tmp_path / "asoundrc"),
        },
    ) as command:
        said = ""
        for line in command.stdout:
            result = json.loads(line)
            if result["type"] == "final" and result["text"]:
                said = f"{said} {result['text']}".strip()
                command.send_signal(signal.SIGINT)  # behind it the file is silence
        assert said == recording.reference
        assert result["type"] == "final"
        assert command.wait(WAIT_S) == 1
        stderr = command.stderr.read().decode()
    assert "audio is being lost: the server takes it slower than it is spoken" in stderr
    assert "error: audio was lost" in stderr


def test_the_library_needs_only_grpc_and_protobuf(running_server, digits, tmp_path):
    """Stream with every other package out of reach."""
    (tmp_path / "audio.raw").write_bytes(digits.pcm)
    program = f"""
import asyncio, importlib.abc, pathlib, sys
ALLOWED = {{*sys.stdlib_module_names, "grpc", "google", "siren", "siren_client",
           "typing_extensions", "cython_runtime"}}

class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] not in ALLOWED or name.startswith(("google.rpc", "grpc_")):
            raise ModuleNotFoundError(f"out of reach: {{name}}", name=name)

sys.meta_path.insert(0, Wall())
from siren_client import AsyncSirenClient, Final, SirenClient
from siren_client.subtitles import to_cues
audio = pathlib.Path({str(tmp_path / "audio.raw")!r}).read_bytes()
options = dict(sample_rate_hertz={digits.sample_rate_hertz})
with SirenClient({running_server.target!r}) as client:
    finals = [r for r in client.stream([audio], **options) if isinstance(r, Final)]
print(*(line for cue in to_cues(finals) for line in cue.lines))

async def main():
    async with AsyncSirenClient({running_server.target!r}) as client:
        async for result in client.stream([audio], **options):
            if isinstance(result, Final):
                print(result.text)

asyncio.run(main())
assert not {{"torch", "numpy", "rich", "typer"}} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=WAIT_S
    )
    assert done.stdout.splitlines() == [digits.reference] * 2, done.stderr
