"""The `siren` command. It needs the extra `cli`; the rest of the client does not."""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import sys

from siren_command import ctrl_c_ends_quietly

_EXTRA = frozenset({"numpy", "rich", "soundfile", "typer"})
_CANNOT_BE_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_FAILED = 1
_ESCAPED = "siren-escaped"


def main() -> None:
    """Run the `siren` command, or say how to install what it needs."""
    _open_what_is_closed()
    _escape_what_cannot_be_written()
    try:
        with ctrl_c_ends_quietly():
            from siren_client.cli.app import build_app
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        print(
            f"The siren command needs {error.name}, which is not installed.\n"
            "Install it with: pip install 'siren-grpc-client[cli]'",
            file=sys.stderr,
        )
        sys.exit(_FAILED)
    try:
        try:
            build_app()()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _CANNOT_BE_WRITTEN:
            raise
        print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
        # Python flushes stdout once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_FAILED)


def _escape_what_cannot_be_written() -> None:
    """Let no text, and no file's name, end the command where the output has no letters for it."""
    codecs.register_error(_ESCAPED, _escape)
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors=_ESCAPED)


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Write characters as JSON does, so that lines of JSON stay what they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _open_what_is_closed() -> None:
    """Let what is printed go nowhere where `>&-` has closed an output."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # until the exit
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
