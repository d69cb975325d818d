"""`siren models`: what a server can run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from rich.table import Table

from siren_client.cli.flags import ConnectionFlags, takes_flags
from siren_client.cli.options import (
    JsonOption,
    errors_console,
    reported_errors,
)
from siren_client.cli.tables import fitting_table, tables_console
from siren_client.types import LookAhead, Model

_NONE_YET = "The server has no model ready yet; `siren health --wait 60` waits for it."


@takes_flags
def models(
    connection: ConnectionFlags,
    as_json: JsonOption = False,
) -> None:
    """List the models of a server and what they can do; `*` marks the defaults.

    **Examples**

    - `siren models`
    - `siren models --server asr.example.org:443 --tls`
    - `siren models --json | jq -r '.[].id'`
    """
    with (
        reported_errors(connection.server),
        connection.make_client() as client,
    ):
        listed = client.list_models()
    if as_json:
        print(json.dumps([asdict(model) for model in listed], ensure_ascii=False, indent=2))
    elif not listed:
        errors_console().print(_NONE_YET, style="dim", markup=False)
    else:
        console = tables_console()
        console.print(render_models(listed, width=console.width))


def render_models(listed: Iterable[Model], *, width: int) -> Table:
    """Draw the table of models, for lines of so many characters."""
    rows = [
        (
            f"{model.id}{' *' if model.is_default else ''}",
            model.family,
            ", ".join(model.language_codes),
            f"{model.sample_rate_hertz} Hz",
            "\n".join(_look_ahead(look_ahead) for look_ahead in model.look_aheads),
            ", ".join(decoder.value for decoder in model.decoders),
        )
        for model in listed
    ]
    columns = ("model", "family", "languages", "rate", "chunk frames\n(latency)", "decoders")
    spare = ("family", "rate", "decoders", "languages")
    return fitting_table(columns, rows, width=width, spare=spare)[0]


def _look_ahead(look_ahead: LookAhead) -> str:
    mark = " *" if look_ahead.is_default else ""
    return f"{look_ahead.chunk_frames} ({look_ahead.latency_ms} ms){mark}"
