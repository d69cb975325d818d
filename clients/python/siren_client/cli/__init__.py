"""The `siren` command. It needs the extra `cli`; the rest of the client does not."""

from __future__ import annotations

import sys

_EXTRA = frozenset({"numpy", "rich", "soundfile", "typer"})


def main() -> None:
    """Run the `siren` command, or say how to install what it needs."""
    try:
        from siren_client.cli.app import build_app
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(
            f"The siren command needs {error.name}, which is not installed.\n"
            "Install it with: pip install 'siren-grpc-client[cli]'",
            file=sys.stderr,
        )
        sys.exit(1)
    build_app()()
