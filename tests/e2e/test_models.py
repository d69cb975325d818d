"""Several models in one server: chosen by name or alias, loaded and let go of while it runs."""

from __future__ import annotations

import re
import shutil
import signal
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import torch
from siren.v1 import speech_pb2 as pb

from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path
from tests.support import checkpoints
from tests.support.audio import spoken_digits
from tests.support.server import SirenServer, serving
from tests.support.wire import Wire, audio, config, failure

pytestmark = pytest.mark.e2e


def make_mute(checkpoint: Path) -> None:
    """Change a checkpoint's weights so that it recognises nothing."""
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(checkpoint) as archive:
            archive.extractall(folder, filter="data")
        weights = next(Path(folder).rglob("model_weights.ckpt"))
        state = torch.load(weights)
        state["joint.joint_net.2.bias"][-1] += 1000.0  # blank
        torch.save(state, weights)
        with tarfile.open(checkpoint, "w") as archive:
            archive.add(folder, arcname=".")


def test_models_come_and_go_while_streams_run(tmp_path: Path) -> None:
    recording = spoken_digits()[0]
    hertz = recording.sample_rate_hertz
    second = tmp_path / "second.nemo"
    embedded = checkpoint_path(EMBEDDED_MODEL)
    assert embedded is not None
    shutil.copy(embedded, second)
    settings = tmp_path / "siren.toml"
    both = f"models = ['{second}']\n[aliases]\nfast = '{EMBEDDED_MODEL}'\naccurate = '{second}'\n"
    settings.write_text(both)
    with serving("--config", str(settings), "--threads", "1", "--max-batch", "4") as server:
        wire = Wire(server.target)
        models = wire.stub.ListModels(pb.ListModelsRequest()).models
        assert [(m.id, m.is_default, list(m.aliases)) for m in models] == [
            (EMBEDDED_MODEL, True, ["fast"]),
            ("second", False, ["accurate"]),
        ]
        texts = set()
        for name, model in (("fast", EMBEDDED_MODEL), ("accurate", "second"), ("second", "second")):
            exchange = wire.recognise(recording.pcm, sample_rate_hertz=hertz, model=name)
            assert exchange.of("started")[0].model == model
            texts.add(exchange.text)
        (text,) = texts

        heard, release = threading.Event(), threading.Event()

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config(sample_rate_hertz=hertz, model="accurate")
            yield audio(recording.pcm)
            release.wait(60)

        exchanges = []
        running = threading.Thread(
            target=lambda: exchanges.append(wire.exchange(requests(), lambda _: heard.set()))
        )
        running.start()
        assert heard.wait(60)
        settings.write_text(f"[aliases]\nfast = '{EMBEDDED_MODEL}'\n")
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile("second goes when its last stream has ended"))
        server.wait_for(
            re.compile(f"SIGHUP: models and aliases read again, serving {EMBEDDED_MODEL}")
        )
        unknown = failure(wire.recognise(recording.pcm, model="accurate").error)
        assert unknown.reason == "MODEL_NOT_FOUND"
        assert unknown.message.startswith(f"no model 'accurate' here; use {EMBEDDED_MODEL}, fast")
        release.set()
        running.join(60)
        assert exchanges[0].text == text, "a stream of a model that goes runs to its end"

        settings.write_text("[aliases]\nfast = 'nothing'\n")
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile("aliases of models that are not served: nothing; an alias"))
        assert wire.recognise(recording.pcm, sample_rate_hertz=hertz, model="fast").text == text
        settings.write_text(both)
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile(r"model second@1 is loaded"))

        # Other weights under the same name: who runs ends on the old ones.
        heard, release = threading.Event(), threading.Event()
        running = threading.Thread(
            target=lambda: exchanges.append(wire.exchange(requests(), lambda _: heard.set()))
        )
        running.start()
        assert heard.wait(60)
        make_mute(second)
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile("model second@1 goes when its last stream has ended"))
        until = time.monotonic() + 30  # front ends hear of it a moment later
        while wire.recognise(recording.pcm, sample_rate_hertz=hertz, model="second").text:
            assert time.monotonic() < until
        assert wire.recognise(recording.pcm, sample_rate_hertz=hertz).text == text
        release.set()
        running.join(60)
        assert exchanges[1].text == text
        second.write_bytes(b"no checkpoint")
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile("SIGHUP: cannot serve model"))
        assert wire.recognise(recording.pcm, sample_rate_hertz=hertz, model="second").text == ""
        wire.close()
        assert "Traceback" not in server.log


def test_settings_of_all_models_apply_to_those_that_can(tmp_path: Path) -> None:
    """A cache-aware and an offline model in one server, whose choices have nothing in common."""
    offline = checkpoints.build_parakeet_hybrid(tmp_path / "offline.nemo", tune=False)
    later = tmp_path / "later.nemo"
    settings = tmp_path / "siren.toml"
    names = f"model = '{offline}'\nmodels = ['{EMBEDDED_MODEL}'"
    settings.write_text(f"{names}]\n")
    flags = ("--chunk-frames", "14", "--decoder", "rnnt", "--precision", "bf16")
    few = ("--threads", "1", "--max-batch", "1", "--max-sessions", "8")
    with serving("--config", str(settings), *flags, *few) as server:
        wire = Wire(server.target)

        def defaults() -> dict[str, tuple[int, int]]:
            models = wire.stub.ListModels(pb.ListModelsRequest()).models
            return {
                model.id: (
                    next(each.chunk_frames for each in model.look_aheads if each.is_default),
                    model.decoders[0],
                )
                for model in models
            }

        own = (25, pb.DECODER_TDT)
        assert defaults() == {"offline": own, EMBEDDED_MODEL: (14, pb.DECODER_RNNT)}
        warned = [line for line in server.log.splitlines() if " instead of " in line]
        assert ["WARNING" in line for line in warned] == [True] * 2
        for line, said in zip(
            warned,
            (
                "model offline uses chunk_frames 25 instead of 14: ",
                "model offline uses decoder tdt instead of rnnt: ",
            ),
            strict=True,
        ):
            assert said in line
        heard = wire.recognise(spoken_digits()[0].pcm, model=EMBEDDED_MODEL)
        assert heard.of("started")[0].latency_ms == 14 * 80

        shutil.copy(offline, later)
        settings.write_text(f"{names}, '{later}']\n")
        server.signal(signal.SIGHUP)
        server.wait_for(re.compile("model later uses chunk_frames 25 instead of 14"))
        server.wait_for(re.compile("SIGHUP: models and aliases read again"))
        until = time.monotonic() + 30  # front ends hear of it a moment later
        while "later" not in defaults():
            assert time.monotonic() < until
        assert defaults()["later"] == own
        wire.close()
        assert "Traceback" not in server.log


def test_sessions_are_as_many_as_their_memory_holds() -> None:
    with closing(SirenServer("--session-memory-mb", "1")) as server:
        assert server.wait() == 1
        assert "session_memory_mb 1 holds no session of siren-mini-en" in server.log
    with serving("--session-memory-mb", "3", "--threads", "1", "--max-batch", "2") as server:
        wire = Wire(server.target)
        match = server.wait_for(re.compile(r": (\d+) sessions of ([\d.]+) MiB each"))
        n_sessions, each = int(match.group(1)), float(match.group(2))
        assert n_sessions == int(3 / each) - 1
        release = threading.Event()
        started = threading.Semaphore(0)

        def requests() -> Iterator[pb.StreamingRecognizeRequest]:
            yield config()
            release.wait(60)

        streams = [
            threading.Thread(target=wire.exchange, args=(requests(), lambda _: started.release()))
            for _ in range(n_sessions)
        ]
        for stream in streams:
            stream.start()
        for _ in streams:
            assert started.acquire(timeout=60)
        assert failure(wire.exchange([config()]).error).reason == "OVERLOADED"
        release.set()
        for stream in streams:
            stream.join(60)
        wire.close()
