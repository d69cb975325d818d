"""Flags of `siren serve`, as a command that starts a server passes them on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def flag_value(flags: Sequence[str], name: str) -> str | None:
    """Return what a flag is set to, in either form: `--port 1` or `--port=1`.

    The last one counts, as it does for the server. None where it is not given.
    """
    found = None
    for i, flag in enumerate(flags):
        key, is_joined, value = flag.partition("=")
        if key == name:
            found = value if is_joined else "".join(flags[i + 1 : i + 2])
    return found


def with_defaults(flags: Sequence[str], defaults: Mapping[str, object]) -> list[str]:
    """Return flags with those of the defaults, by name, that are not given."""
    added = (f"{name}={value}" for name, value in defaults.items())
    return [*flags, *(flag for flag in added if flag_value(flags, flag.partition("=")[0]) is None)]
