"""A flag of a command for each setting, so that settings are declared once: in `Settings`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.models import OptionInfo

from siren_grpc.config.settings import ENVIRONMENT_ONLY, GROUPS


def with_setting_flags(
    command: Callable[[dict[str, Any], Path | None], None],
) -> Callable[..., None]:
    """Return a command with one flag for each setting of `Settings`, and `--config`.

    command: called with the values of the flags that were given, by name, and the settings file.
    """

    def run(**flags: Any) -> None:
        file = flags.pop("config")
        command({name: value for name, value in flags.items() if value is not None}, file)

    file_option = typer.Option(help="TOML file with settings.", envvar="SIREN_CONFIG")
    parameters = [_keyword("config", Path, file_option)]
    for title, group in GROUPS.items():
        for name, field in group.model_fields.items():
            if name not in ENVIRONMENT_ONLY:
                kind = _kind_of(field.annotation)
                parameters.append(_keyword(name, kind, _option(name, field, kind, title)))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _keyword(name: str, kind: type[Any], option: OptionInfo) -> inspect.Parameter:
    """Return a parameter that is None unless its flag is given."""
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, option],
    )


def _kind_of(annotation: Any) -> type[Any]:
    """Return what a setting is on the command line: text where pydantic has to read more in it."""
    kinds = (annotation, *getattr(annotation, "__args__", ()))
    return next((kind for kind in (bool, int, float) if kind in kinds), str)


def _choices(annotation: Any) -> tuple[str, ...]:
    """Return the words a setting takes, if it takes but some: those of its Literal."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(word for part in get_args(annotation) for word in _choices(part))


def _option(name: str, field: FieldInfo, kind: type[Any], title: str) -> OptionInfo:
    flag = f"--{name.replace('_', '-')}"
    plain = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    default = "" if plain in (None, PydanticUndefined, "", {}) else f" [{plain}]"
    option: OptionInfo = typer.Option(
        f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
        help=f"{field.description}{default}",
        metavar="|".join(_choices(field.annotation)) or None,
        show_default=False,
        rich_help_panel=title,
    )
    return option
