"""Whether files have changed, asked often and cheaply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Signature: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class WatchedFiles:
    """Some files that belong together: a change of one is a change of all.

    A file that is replaced has another inode, links included: a mounted secret is a link that is
    moved. One that is written in place has another time or size.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Take the files as they are now for known."""
        self._paths = tuple(paths)
        self._known = self._look()

    @property
    def names(self) -> str:
        """The files, for the log."""
        return ", ".join(map(str, self._paths))

    def have_changed(self) -> bool:
        """Whether any has changed since this was asked last. It costs microseconds a file."""
        now = self._look()
        if now == self._known:
            return False
        self._known = now
        return True

    def _look(self) -> Signature:
        return tuple(_signature(path) for path in self._paths)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
