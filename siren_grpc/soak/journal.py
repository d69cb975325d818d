"""What a soak has found so far, as JSON lines: a run that is killed can be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Journal:
    """Writes a line as soon as there is one. The first says what runs, the last has the verdict."""

    def __init__(self, path: Path | None) -> None:
        """Write to a file, or keep nothing."""
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1)

    def write(self, **line: Any) -> None:
        """Add a line."""
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
