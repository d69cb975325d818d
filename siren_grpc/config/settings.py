"""The settings of `siren serve` in one object, and where their values come from.

A value comes from the command line, else from the environment (`SIREN_` and the name in capitals),
else from a TOML file, else from the default where it is declared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from siren_grpc.config.compute import ComputeSettings
from siren_grpc.config.connection import ConnectionSettings
from siren_grpc.config.model import ModelSettings
from siren_grpc.config.observability import ObservabilitySettings
from siren_grpc.config.security import SecuritySettings
from siren_grpc.config.stream import StreamSettings

ENVIRONMENT_ONLY = frozenset({"tokens"})
"""Secrets: no flag, which others could see in the list of processes, and no line of a file."""

_PORTS = ("port", "health_port", "metrics_port", "admin_port")
"""Settings, each of a port, in the order in which they are read."""
_HOSTS = {"metrics_port": "metrics_host", "admin_port": "admin_host"}
"""Where a port has an address of its own; that comes before it."""
_ALL_ADDRESSES = frozenset({"0.0.0.0", "::", ""})

GROUPS: dict[str, type[BaseModel]] = {
    "Listening and stopping": ConnectionSettings,
    "Models": ModelSettings,
    "Sessions and compute": ComputeSettings,
    "Streams": StreamSettings,
    "Security": SecuritySettings,
    "Observability": ObservabilitySettings,
}
"""What settings are about, in the order in which people are shown them."""


class Settings(  # pydantic takes the fields of the last base first
    ObservabilitySettings,
    SecuritySettings,
    StreamSettings,
    ComputeSettings,
    ModelSettings,
    ConnectionSettings,
    BaseSettings,
):
    """Every setting of `siren serve`."""

    model_config = SettingsConfigDict(
        env_prefix="SIREN_",
        # A variable that is set to nothing is none: Compose and Helm pass such for what is unset.
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        # Leaving a limit out is how there is none: endless ones cannot be reckoned with.
        allow_inf_nan=False,
    )

    @field_validator("health_port", "metrics_port", "admin_port")
    @classmethod
    def _is_of_its_own(cls, port: int | None, info: ValidationInfo) -> int | None:
        """Refuse the port of a setting above: front ends share theirs, so nothing else would."""
        if not port:
            return port
        host = _host_of(info.field_name, info.data)
        for other in _PORTS:
            if other == info.field_name:
                break
            if port == info.data.get(other) and _overlap(host, _host_of(other, info.data)):
                raise ValueError(f"the same as {other}; each needs a port of its own")
        return port

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what is given here, the environment, the file."""
        file = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, file


def _host_of(port: str | None, values: Mapping[str, Any]) -> str | None:
    """Return the address of a port, None where that is wrong itself. port: its setting's name."""
    host: str | None = values.get(_HOSTS.get(port or "", "host"))
    return host


def _overlap(host: str | None, other: str | None) -> bool:
    """Whether a port at one address is, for all that can be told, one at the other as well."""
    return host == other or not _ALL_ADDRESSES.isdisjoint((host, other))


def load_settings(given: dict[str, Any], file: Path | None) -> Settings:
    """Read the settings.

    given: values of the command line, by setting. file: a TOML file with settings at its top
    level, or None. Raises pydantic.ValidationError naming each bad value, FileNotFoundError,
    ValueError for a secret in the file.
    """
    if file is None:
        return Settings(**given)
    if not file.is_file():
        raise FileNotFoundError(f"no settings file at {file}")

    class FileSettings(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        lines = TomlConfigSettingsSource(FileSettings)()
    except ValueError as error:  # no TOML, or no UTF-8
        raise ValueError(f"{file} is no TOML: {error}") from error
    if found := ENVIRONMENT_ONLY & lines.keys():
        raise ValueError(
            f"setting {', '.join(found)} in {file}: secrets come from the environment only; "
            "tokens_file holds tokens as hashes"
        )
    return FileSettings(**given)
