"""Write the tables of settings in docs/configuration.md from the settings model. `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from siren_grpc.config.settings import GROUPS, Settings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: written by `make docs` -->", "<!-- end of settings -->"
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def type_of(annotation: Any) -> str:
    """Return what a value may be, in words of the table."""
    if get_origin(annotation) is tuple:
        return "list"
    if get_origin(annotation) is dict:
        return "pairs"
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return ", ".join(type_of(a) for a in get_args(annotation) if a is not NoneType)
    names = {str: "text", int: "integer", float: "number", bool: "true, false", Path: "path"}
    return names.get(annotation, str(annotation))


def bounds_of(field: FieldInfo) -> str:
    """Return the limits of a number, empty for none."""
    found = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in BOUNDS.items()
        if hasattr(limit, name)
    ]
    return ", " + " and ".join(found) if found else ""


def row(name: str, field: FieldInfo) -> str:
    """Return a setting's line of the table."""
    plain = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
    default = "unset" if plain in (None, "", {}) else f"`{plain}`"
    value = type_of(field.annotation) + bounds_of(field)
    prefix = Settings.model_config["env_prefix"]
    return f"| `{name}` | `{prefix}{name.upper()}` | {value} | {default} | {field.description} |"


def tables() -> str:
    """Return a table of settings for each thing that they are about."""
    lines = [BEGIN]
    for title, group in GROUPS.items():
        lines += [
            f"## {title}",
            "",
            "| setting | environment | value | default | what it does |",
            "| --- | --- | --- | --- | --- |",
            *(row(name, field) for name, field in group.model_fields.items()),
            "",
        ]
    return "\n".join([*lines[:-1], END])


def main() -> None:
    """Write the page, or with --check fail when it is stale."""
    page = PAGE.read_text(encoding="utf-8")
    fresh = re.sub(
        f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: tables(), page, flags=re.DOTALL
    )
    if "--check" not in sys.argv:
        PAGE.write_text(fresh, encoding="utf-8")
    elif fresh != page or BEGIN not in page:
        sys.exit(f"{PAGE.name} is stale; run `make docs` and commit the result")


if __name__ == "__main__":
    main()
