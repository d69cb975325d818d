from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from siren_grpc.config.settings import Settings, load_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "siren.toml"
    path.write_text("port = 1\nmax_batch = 2\nmodel = 'from-file'\n")
    return path


def test_defaults() -> None:
    settings = load_settings({}, None)
    assert (settings.host, settings.port) == ("127.0.0.1", 50051)
    assert settings.model == "siren-mini-en"


def test_flags_win_over_the_environment_and_that_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIREN_PORT", "2")
    monkeypatch.setenv("SIREN_MAX_BATCH", "3")
    settings = load_settings({"port": 4}, file)
    assert (settings.port, settings.max_batch, settings.model) == (4, 3, "from-file")


@pytest.mark.parametrize(
    "given",
    [{"port": 70000}, {"max_sessions": 0}, {"decoder": "beam"}, {"nonsense": 1}, {"threads": -1}],
)
def test_bad_values_are_refused(given: dict) -> None:
    with pytest.raises(ValidationError) as caught:
        load_settings(given, None)
    assert next(iter(given)) in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "inf"])
def test_endless_numbers_are_refused(value: object) -> None:
    floats = [
        name
        for name, field in Settings.model_fields.items()
        if float in (field.annotation, *getattr(field.annotation, "__args__", ()))
    ]
    assert "max_session_s" in floats
    for name in floats:
        with pytest.raises(ValidationError, match=name):
            load_settings({name: value}, None)


@pytest.mark.parametrize(
    "name", ["shutdown_grace_s", "max_connection_age_s", "max_connection_age_grace_s"]
)
def test_durations_fit_what_grpc_takes_them_as(name: str) -> None:
    (most,) = (le.le for le in Settings.model_fields[name].metadata if hasattr(le, "le"))
    assert 20 * 86400 < most < (2**31 - 1) / 1000
    load_settings({name: most}, None)
    with pytest.raises(ValidationError, match="less than or equal to 2000000"):
        load_settings({name: most + 1}, None)


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ({"port": 9000, "health_port": 9000}, "port"),
        ({"metrics_port": 50051}, "port"),
        ({"health_port": 9000, "metrics_port": 9000}, "health_port"),
        ({"metrics_port": 9000, "admin_port": 9000}, "metrics_port"),
        ({"host": "0.0.0.0", "admin_host": "10.0.0.1", "admin_port": 50051}, "port"),
    ],
)
def test_two_ports_that_are_one_are_named(given: dict, other: str) -> None:
    with pytest.raises(ValidationError, match=f"the same as {other};") as caught:
        load_settings(given, None)
    assert caught.value.errors()[0]["loc"] == (list(given)[-1],)


def test_ports_may_be_chosen_by_the_system_and_one_at_each_address() -> None:
    load_settings(dict.fromkeys(("port", "health_port", "metrics_port", "admin_port"), 0), None)
    load_settings({"metrics_port": 9000, "admin_port": 9000, "admin_host": "10.0.0.1"}, None)


def test_an_unknown_line_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "siren.toml"
    path.write_text("prot = 1\n")
    with pytest.raises(ValidationError, match="prot"):
        load_settings({}, path)


def test_a_missing_file_is_said() -> None:
    with pytest.raises(FileNotFoundError, match=r"no settings file at nowhere\.toml"):
        load_settings({}, Path("nowhere.toml"))


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_lists_are_separated_by_commas_or_written_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "siren.toml"
    path.write_text("models = ['a.nemo', 'org/b']\n[aliases]\nfast = 'a.nemo'\n")
    from_file = load_settings({}, path)
    assert from_file.models == ("a.nemo", "org/b")
    assert from_file.aliases == {"fast": "a.nemo"}
    monkeypatch.setenv("SIREN_MODELS", "a.nemo, org/b")
    given = load_settings({"aliases": "fast=a.nemo,accurate = org/b"}, None)
    assert given.models == from_file.models
    assert given.aliases == {"fast": "a.nemo", "accurate": "org/b"}


def test_an_alias_is_of_one_model() -> None:
    with pytest.raises(ValidationError, match="fast is there twice"):
        load_settings({"aliases": "fast=a.nemo,fast=b.nemo"}, None)


def test_an_alias_needs_a_model() -> None:
    with pytest.raises(ValidationError, match="fast=siren-mini-en"):
        load_settings({"aliases": "fast"}, None)


def test_a_variable_set_to_nothing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIREN_TOKENS_FILE", "")
    monkeypatch.setenv("SIREN_MAX_BATCH", "")
    settings = load_settings({}, None)
    assert (settings.tokens_file, settings.max_batch) == (None, None)
