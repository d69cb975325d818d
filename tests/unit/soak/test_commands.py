"""However short a run: its defaults give enough audits to judge by."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from siren_grpc.soak.commands import app


def settings_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """What a command would run with."""
    found: dict[str, Any] = {}

    def run(name: str, play: object, *, settings: dict[str, Any], **others: object) -> None:
        found.update(settings)

    monkeypatch.setattr("siren_grpc.soak.run.run", run)
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return found


@pytest.mark.parametrize(
    ("arguments", "every"),
    [
        ((), 1000),
        (("--sessions", "20000"), 1000),
        (("--sessions", "1000"), 50),
        (("--sessions", "3"), 1),
        (("--sessions", "1000", "--every", "250"), 250),
    ],
)
def test_a_short_churn_is_audited_more_often(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], every: int
) -> None:
    assert settings_of(monkeypatch, "churn", *arguments)["every"] == every


@pytest.mark.parametrize(
    ("arguments", "window_s"),
    [
        ((), 600.0),
        (("--hours", "3"), 300.0),
        (("--hours", "0.5", "--silence-hours", "0.1"), 50.0),
        (("--hours", "3", "--window-s", "60"), 60.0),
    ],
)
def test_a_short_stream_is_audited_more_often(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], window_s: float
) -> None:
    assert settings_of(monkeypatch, "stream", *arguments)["window_s"] == pytest.approx(window_s)
