"""The steps of docs/security.md, as a person would take them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ADDRESS = "127.0.0.1:50051"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.e2e
def test_the_steps_run_as_written(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        if os.environ.get("CI_RUN"):
            pytest.fail("openssl is missing; .ci/run installs it")
        pytest.skip("needs the command openssl: apt-get install openssl")
    (python,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    steps = re.findall(r"^```(?:sh|python)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    port = free_port()
    target = f"127.0.0.1:{port}"
    (tmp_path / "example.py").write_text(python.replace(ADDRESS, target))
    shutil.copy(ROOT / "siren_grpc/assets/demo.wav", tmp_path / "talk.wav")
    script = "\n".join("python example.py\n" if step == python else step for step in steps)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIREN_")}

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"trap 'kill $(jobs -p); wait' EXIT\n{script}"],
        cwd=tmp_path,
        env={
            **kept,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "SIREN_PORT": str(port),
            "SIREN_SERVER": target,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "SERVING" in done.stdout
    assert "['siren-mini-en']" in done.stdout
    assert "AUTH_FAILED" not in done.stderr
    token = (tmp_path / "phone.token").read_text().strip()
    assert token not in done.stdout + done.stderr
    assert len((tmp_path / "tokens.txt").read_text().splitlines()) == 1
    assert (tmp_path / "client.pem").exists()


def test_every_setting_the_page_names_is_there() -> None:
    from siren_grpc.config.settings import Settings

    named = set(re.findall(r"`((?:tokens|jwt|tls|quota|open|health|max|resume)_[a-z_]+)`", PAGE))
    assert len(named) > 15
    assert named - {"resume_token"} <= set(Settings.model_fields)
