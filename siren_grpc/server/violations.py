"""Gathering what is wrong with a config, so that its client hears of all of it at once."""

from __future__ import annotations

from types import TracebackType

from siren_grpc.domain.errors import FieldViolation, InvalidConfig


class Violations:
    """Takes note of the InvalidConfig that each of its `with` blocks ends with, and goes on.

    A block is for what is wrong by itself (promise 6: invalid fields are listed). What it was to
    assign is not assigned where it failed: `raise_any` before that is used.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._found: list[FieldViolation] = []
        self._n_unlisted = 0

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, InvalidConfig):
            return False
        self._found += error.violations
        self._n_unlisted += error.n_unlisted
        return True

    def raise_any(self) -> None:
        """Raise InvalidConfig with all that were found, in their order, if there are any."""
        if self._found:
            raise InvalidConfig.of_fields(self._found, n_unlisted=self._n_unlisted)
