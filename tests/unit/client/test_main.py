"""The program around the commands: how it begins, and how it ends when it cannot go on."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from siren_client.cli import main

RUN = """
import importlib.metadata, sys
importlib.metadata.entry_points = lambda **_: []  # the client's own commands, which come quickly
sys.argv = ["siren", *sys.argv[1:]]
from siren_command import main
main()
"""


def siren(*arguments: str, before: str = "", **keywords: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", f"{before}\n{RUN}", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        **keywords,
    )


@pytest.mark.parametrize("module", ["siren_client", "siren_client.cli.app"])
def test_ctrl_c_while_it_is_imported_leaves_no_traceback(module):
    interrupts = f"""
import os, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
"""
    done = siren("--version", before=interrupts)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_grpcs_own_remarks_are_left_out(tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_text("no certificate")
    done = siren("health", "--server", "127.0.0.1:1", "--ca", str(ca))
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_takes_no_more_is_said_in_a_line():
    with open("/dev/full", "w") as full:
        done = siren("--version", stdout=full)
    assert done.returncode == 1
    reason = os.strerror(errno.ENOSPC)
    assert done.stderr == f"error: the output cannot be written: {reason}\n"


def test_a_closed_output_is_no_fault(monkeypatch):
    monkeypatch.setattr("siren_client.cli.app.build_app", lambda: lambda: print("said"))
    monkeypatch.setattr("sys.stdout", None)
    main()
    assert sys.stdout is not None
    sys.stdout.close()


def test_names_that_no_encoding_has_are_escaped(tmp_path):
    names = [
        os.fsencode(tmp_path) + name for name in (b"/a\xff.wav", b"/\xc3\xa4.wav", "/😀".encode())
    ]
    for name in names:
        with open(name, "wb") as file:
            file.write(b"not audio")
    done = siren(
        *("transcribe", "--json", *map(os.fsdecode, names)),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [name.decode("utf-8", "replace") for name in names]
