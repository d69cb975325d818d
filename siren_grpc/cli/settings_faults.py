"""What is wrong with the settings of a server, in sentences that say what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from siren_grpc.config.settings import ENVIRONMENT_ONLY, Settings

_PREFIX = "SIREN_"
_NO_SETTINGS = frozenset(
    {"server", "token", "token_file", "plaintext_token", "admin", "config", "servers"}
)
"""What else is read from variables with the prefix: by the client's commands, and HAProxy's."""


def describe(error: ValidationError) -> list[str]:
    """Return a sentence for each value that is refused. Secrets are not shown."""
    sentences = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            sentences.append(_unknown(name, fault["input"]))
            continue
        is_secret = fault["loc"][:1] and fault["loc"][0] in ENVIRONMENT_ONLY
        got = "" if is_secret else f" (got {fault['input']!r})"
        said = fault["msg"].removeprefix("Value error, ")
        sentences.append(f"setting {name}: {said}{got}")
    return sentences


def misspelt_variables(names: Iterable[str]) -> list[str]:
    """Return a sentence for each environment variable that was probably meant as a setting.

    Others with the prefix are no fault: clients have some, Kubernetes makes some.
    """
    sentences = []
    for variable in names:
        if not variable.upper().startswith(_PREFIX):
            continue
        name = variable[len(_PREFIX) :].lower()
        if name in Settings.model_fields or name in _NO_SETTINGS:
            continue
        if meant := _closest(name):
            sentences.append(
                f"{variable} is no setting, and is ignored; is {_PREFIX}{meant.upper()} meant?"
            )
    return sentences


def describe_file(error: OSError, settings: Settings) -> str:
    """Return a sentence for a file that cannot be read, with the setting that names it."""
    for name, value in settings:
        if isinstance(value, Path) and str(value) == str(error.filename):
            return f"setting {name}: {value}: {error.strerror}"
    return str(error)


def check_checkpoints(models: Iterable[str]) -> None:
    """Refuse checkpoints that are not there, before anything is imported to load them.

    Raises ValueError.
    """
    for model in models:
        path = Path(model).expanduser()
        if path.suffix == ".nemo" and not path.is_file():
            raise ValueError(f"there is no checkpoint at {path}")
        if path.suffix != ".nemo" and path.is_file():
            raise ValueError(f"{path} is no checkpoint: those of NeMo end with .nemo")


def _unknown(name: str, value: object) -> str:
    if isinstance(value, dict):
        return f"no table [{name}]: settings stand at the top of the file"
    meant = _closest(name)
    hint = f"is {meant} meant?" if meant else "docs/configuration.md lists them"
    return f"no setting {name}; {hint}"


def _closest(name: str) -> str | None:
    return next(iter(difflib.get_close_matches(name, Settings.model_fields, n=1, cutoff=0.8)), None)
