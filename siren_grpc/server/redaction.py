"""What of an error the log may hold: messages for the client quote what it sent."""

from __future__ import annotations

from siren_grpc.domain.errors import SirenError

_CONFIDENTIAL = tuple(
    f"{message}.{field}" for message in ("config", "update") for field in ("biasing", "text")
)
"""Fields with names and words of the client's."""


def loggable(error: SirenError) -> str:
    """Return an error's message, or where it may quote the client's own words the fields alone."""
    fields = [violation.field for violation in error.violations]
    if any(field.startswith(_CONFIDENTIAL) for field in fields):
        return f"{', '.join(fields)} (what it holds is not logged)"
    return error.message
