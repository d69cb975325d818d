from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from siren_grpc.cli import register
from siren_grpc.cli.app_config import masked_words
from siren_grpc.config.settings import ENVIRONMENT_ONLY, Settings


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def test_every_setting_is_a_flag_with_its_help(app: typer.Typer) -> None:
    output = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    for name in Settings.model_fields.keys() - ENVIRONMENT_ONLY:
        assert f"--{name.replace('_', '-')}" in plain
    assert "off|calls|steps" in plain
    assert "debug|info|warning|error" in plain


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "setting port"),
        (["--decoder", "beam"], "setting decoder"),
        (["--config", "nowhere.toml"], "no settings file"),
        (["--port", "many"], "--port"),
    ],
)
def test_a_bad_value_ends_with_usage_status_and_its_name(
    app: typer.Typer, arguments: list[str], says: str
) -> None:
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.slow  # it imports NeMo
def test_pull_says_where_the_embedded_model_is_and_what_is_missing(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["pull", "/nowhere/model.nemo"])
    assert result.exit_code == 1
    assert "no checkpoint at /nowhere/model.nemo" in result.output


def test_masked_words_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    assert masked_words(None) == frozenset()
    file.write_text("damn\nheck # mild\n", encoding="utf-8")
    assert masked_words(file) == {"damn", "heck"}
    file.write_text("damn it\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"masked_words_file .*words\.txt: line 1: 'damn it'"):
        masked_words(file)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        masked_words(tmp_path / "nowhere")
