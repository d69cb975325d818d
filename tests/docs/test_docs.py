"""What the README and the docs tell a person to type works, and what they point to is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import wave
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from siren_client import SirenClient
from tests.support.audio import read_wav
from tests.support.encode import encode
from tests.support.server import SirenServer

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ADDRESS = "127.0.0.1:50051"
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "clients/python/README.md"],
)
DEMO = ROOT / "siren_grpc/assets/demo.wav"
NOT_RUN_HERE = re.compile(
    r"^(make|docker|helm|kubectl|pip|siren|arecord|\.venv/bin/siren serve)\b"  # set-up, servers
    + ("" if shutil.which("grpcurl") else r"|^grpcurl\b")
    + ("" if find_spec("nemo_text_processing") else r"|.* --itn\b")
)


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def runnable_blocks() -> list[object]:
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            commands = re.sub(r"\\\n\s*", "", block).splitlines()
            script = "\n".join(line for line in commands if not NOT_RUN_HERE.match(line))
            if script.strip():
                found.append(pytest.param(script, id=f"{page.name}: {script.split()[0]}"))
    return found


def run(command: list[str], target: str, folder: Path) -> str:
    """Run a command; what it leaves among temporary files is left in the folder."""
    done = subprocess.run(
        [part.replace(ADDRESS, target) for part in command],
        cwd=ROOT,
        env={**os.environ, "SIREN_SERVER": target, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.e2e
@pytest.mark.parametrize("script", runnable_blocks())
def test_commands_run_as_written(script: str, running_server: SirenServer, tmp_path: Path) -> None:
    script = script.replace(".venv/bin", str(BIN))

    output = run(["bash", "-euo", "pipefail", "-c", script], running_server.target, tmp_path)

    assert output.strip()


@pytest.mark.e2e
def test_readme_example_prints_partials_and_the_final(
    running_server: SirenServer, tmp_path: Path
) -> None:
    (example,) = blocks(ROOT / "README.md", "python")

    command = [sys.executable, "-c", example]
    *partials, final = run(command, running_server.target, tmp_path).splitlines()

    with wave.open(str(DEMO)) as file, SirenClient(running_server.target) as client:
        audio = file.readframes(file.getnframes())
        said = client.recognize(audio, sample_rate_hertz=file.getframerate())
    assert final == said.text
    assert partials
    assert all(line.startswith("[") for line in partials)


@pytest.mark.e2e
def test_the_clients_examples_run_one_after_the_other(
    running_server: SirenServer, tmp_path: Path
) -> None:
    examples = blocks(ROOT / "clients/python/README.md", "python")
    (microphone,) = [example for example in examples if "Microphone()" in example]
    with wave.open(str(DEMO)) as file, SirenClient(running_server.target) as client:
        audio = file.readframes(file.getnframes())
        said = client.recognize(audio).text
    (tmp_path / "talk.raw").write_bytes(audio)
    # There is no microphone here; tests/unit/client and tests/e2e/test_command.py listen.
    compile(microphone, "README.md", "exec")
    program = "\n".join(example for example in examples if example is not microphone)

    done = subprocess.run(
        [sys.executable, "-c", program.replace(ADDRESS, running_server.target)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines.count(said) == 4  # blocking, recognize(), asyncio, and with errors caught
    assert lines[0].startswith("[")
    assert "ServingStatus.SERVING" in lines
    for name in ("talk.srt", "talk.vtt"):
        assert said in " ".join((tmp_path / name).read_text().split())


@pytest.mark.e2e
def test_the_example_of_a_calls_two_sides(running_server: SirenServer, tmp_path: Path) -> None:
    (example,) = blocks(ROOT / "docs/audio.md", "python")
    demo = read_wav(DEMO)
    both = np.stack([demo.samples, np.zeros_like(demo.samples)], axis=1)
    (tmp_path / "call.flac").write_bytes(encode("FLAC", both, demo.sample_rate_hertz))

    done = subprocess.run(
        [sys.executable, "-c", example.replace(ADDRESS, running_server.target)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    with SirenClient(running_server.target) as client:
        said = client.recognize(demo.pcm, sample_rate_hertz=demo.sample_rate_hertz).text
    assert sorted(done.stdout.splitlines()) == [f"0 0.0 {said}", "1 0.0 "]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]

    missing = [link for link in local if not (page.parent / link).exists()]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(
        r"(?:^|`)make ([a-z ]+?)(?=$|`|  +#|[^a-z ])", page.read_text(), re.MULTILINE
    )

    unknown = {name for names in named for name in names.split()} - targets

    assert unknown == set()


@pytest.mark.parametrize(
    "script",
    [
        "docs/figures/draw_architecture.py",
        "scripts/write_configuration_docs.py",
        "scripts/write_metrics_docs.py",
        "scripts/plot_benchmarks.py",
    ],
)
def test_generated_parts_are_fresh(script: str, tmp_path: Path) -> None:
    run([sys.executable, script, "--check"], ADDRESS, tmp_path)


def test_the_readme_shows_what_the_demo_says() -> None:
    (shown,) = re.findall(r"<pre>\n(.*?)</pre>", (ROOT / "README.md").read_text(), re.DOTALL)
    said = (ROOT / "siren_grpc/assets/demo.txt").read_text().strip()
    lines = [re.sub(r"</?b>", "", line) for line in shown.splitlines()]
    assert lines[-1] == said
    assert all(said.startswith(line) for line in lines)
