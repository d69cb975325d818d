"""What a soak has found so far, as JSON lines: a run that is killed can be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, Any


class Journal:
    """Writes a line as soon as there is one. The first says what runs, the last has the verdict."""

    def __init__(self, path: Path | None) -> None:
        """Write to a file until `close`, or keep nothing. Raises OSError."""
        self._file: IO[str] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1)

    def write(self, **line: Any) -> None:
        """Add a line."""
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
