"""Bytes as they come, for a parser written as if all of them were there."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from siren_grpc.domain.errors import InvalidAudio

_T = TypeVar("_T")
Awaits = Generator[None, None, _T]
"""A part of a parser: yields None whenever it needs more bytes, and returns a value."""


class ByteStream:
    """Holds what a parser has not read yet; the parser is a generator (after `websockets`).

    `read` and its like are used with `yield from` and wait for the bytes they need; they raise
    InvalidAudio when the stream ends before. A byte a push is fine: nothing is looked at twice.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._held = bytearray()
        self._position = 0
        self._is_over = False

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._position

    @property
    def n_held(self) -> int:
        """Bytes received and not read."""
        return len(self._held)

    @property
    def is_untouched(self) -> bool:
        """Whether no byte has come."""
        return not self._held and self._position == 0

    @property
    def is_over(self) -> bool:
        """Whether no more bytes will come."""
        return self._is_over

    def feed(self, data: bytes) -> None:
        """Append what was received."""
        self._held += data

    def end(self) -> None:
        """Say that no more bytes will come."""
        self._is_over = True

    def read(self, n_bytes: int, what: str) -> Awaits[bytes]:
        """Read exactly so many bytes of what an error calls `what`."""
        while len(self._held) < n_bytes:
            self.require_more(what)
            yield
        return self.take(n_bytes)

    def skip(self, n_bytes: int, what: str) -> Awaits[None]:
        """Read so many bytes without keeping them."""
        while n_bytes > 0:
            if not self._held:
                self.require_more(what)
                yield
            n_bytes -= len(self.take(min(n_bytes, len(self._held))))

    def peek(self, n_bytes: int) -> Awaits[bytes]:
        """Return the next bytes without reading them: fewer if the stream ends before."""
        while len(self._held) < n_bytes and not self._is_over:
            yield
        return bytes(self._held[:n_bytes])

    def is_at_end(self) -> Awaits[bool]:
        """Return whether nothing follows; waits for the next byte or the end."""
        while not self._held:
            if self._is_over:
                return True
            yield
        return False

    def take(self, n_bytes: int) -> bytes:
        """Read up to so many bytes of those held."""
        data = bytes(self._held[:n_bytes])
        del self._held[:n_bytes]
        self._position += len(data)
        return data

    def held(self, start: int, end: int) -> bytes:
        """Return bytes held, by their distance from the next one, without reading them."""
        return bytes(self._held[start:end])

    def find(self, wanted: bytes, start: int) -> int:
        """Return where among the bytes held a sequence begins, from `start` on; -1 for nowhere."""
        return self._held.find(wanted, start)

    def require_more(self, what: str) -> None:
        """Raise InvalidAudio if no more bytes will come."""
        if self._is_over:
            end = self._position + len(self._held)
            raise InvalidAudio(
                f"the audio ends within {what}, after {end} bytes: it is truncated; send all of it"
            )
