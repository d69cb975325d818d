from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from siren_grpc.cli.settings_faults import (
    check_checkpoints,
    describe,
    describe_file,
    misspelt_variables,
)
from siren_grpc.config.settings import Settings, load_settings


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("prt = 1", "no setting prt; is port meant?"),
        ("volume = 11", "no setting volume; docs/configuration.md lists them"),
        ("[server]\nport = 1", "no table [server]: settings stand at the top of the file"),
        ("aliases = 'a'", "setting aliases: give pairs such as fast=siren-mini-en, "),
        ("max_batch = 0", "(got 0)"),
    ],
)
def test_a_fault_of_the_file_says_what_to_write(
    tmp_path: Path, content: str, sentence: str
) -> None:
    file = tmp_path / "siren.toml"
    file.write_text(content)
    with pytest.raises(ValidationError) as caught:
        load_settings({}, file)
    (said,) = describe(caught.value)
    assert sentence in said


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIREN_TOKENS", "hunter2")
    with pytest.raises(ValidationError) as caught:
        load_settings({}, None)
    (said,) = describe(caught.value)
    assert "setting tokens: " in said
    assert "hunter2" not in said


@pytest.mark.parametrize("content", [b"port =", b"\xff\xfe"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "siren.toml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"{file} is no TOML: "):
        load_settings({}, file)


def test_a_misspelt_variable_is_told_and_other_peoples_are_not() -> None:
    names = ["SIREN_MAX_SESSION", "SIREN_PORT", "SIREN_TOKEN", "SIREN_TOKEN_FILE", "SIREN_SERVER"]
    kubernetes = ["SIREN_SERVICE_HOST", "SIREN_SERVICE_PORT", "SIREN_PORT_50051_TCP_ADDR", "HOME"]
    (said,) = misspelt_variables(names + kubernetes)
    assert said == "SIREN_MAX_SESSION is no setting, and is ignored; is SIREN_MAX_SESSIONS meant?"


def test_a_file_that_is_missing_is_told_with_its_setting() -> None:
    settings = Settings(tokens_file=Path("nowhere.txt"))
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "nowhere.txt")
    assert describe_file(error, settings).startswith("setting tokens_file: nowhere.txt: No such")
    assert describe_file(OSError("cannot listen"), settings) == "cannot listen"


def test_a_checkpoint_is_looked_for_before_anything_is_loaded(tmp_path: Path) -> None:
    checkpoint = tmp_path / "here.nemo"
    checkpoint.touch()
    recording = tmp_path / "talk.wav"
    recording.touch()
    check_checkpoints(["siren-mini-en", "nvidia/some-model", str(checkpoint)])
    with pytest.raises(ValueError, match="there is no checkpoint at"):
        check_checkpoints([str(tmp_path / "nowhere.nemo")])
    with pytest.raises(ValueError, match=r"talk\.wav is no checkpoint"):
        check_checkpoints([str(recording)])
