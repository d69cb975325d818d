"""Audio from standard input, such as `arecord` writes it."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

from siren_client._audio_queue import AudioQueue

_MAX_HELD_BYTES = 1024 * 1024
_CONTAINERS = {
    b"RIFF": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"\x1a\x45\xdf\xa3": "WebM",
}


class StandardInputError(Exception):
    """What comes cannot be sent; the message says why and what to do."""


class StandardInput(Iterator[bytes]):
    """Standard input as it comes, until it ends or `stop()`.

    A thread reads ahead, by a bound: so `stop()` does not wait for a writer that is silent.
    """

    def __init__(self, *, message_bytes: int, descriptor: int = 0, is_raw: bool = True) -> None:
        """Begin to read.

        message_bytes: most audio in an item; less comes when less is there. is_raw: whether a
        file's header would be taken for audio, and so is refused.
        """
        self._is_raw = is_raw
        self._message_bytes = message_bytes
        # Unbuffered: a thread that waits in a buffered file aborts Python when it exits.
        self._file = io.FileIO(descriptor, closefd=False)
        self._queue = AudioQueue(max_bytes=_MAX_HELD_BYTES)
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def stop(self) -> None:
        """Read no more; what was read is still given out."""
        self._queue.end()

    def __next__(self) -> bytes:
        """Wait for more audio.

        Raises:
            StopIteration: It ended, or was stopped.
            StandardInputError: It is no raw audio, or cannot be read.
        """
        return next(self._queue)

    def _read(self) -> None:
        is_first = True
        while True:
            try:
                data = self._file.read(self._message_bytes)
            except OSError as error:
                self._queue.fail(StandardInputError(f"standard input cannot be read: {error}"))
                return
            if data is None:
                self._queue.fail(StandardInputError("standard input does not wait for audio"))
                return
            if is_first and self._is_raw and (container := container_of(data)) is not None:
                self._queue.fail(
                    StandardInputError(
                        f"standard input is a {container} file, and `-` takes raw audio: say "
                        "`--encoding auto`, write it raw (`arecord -t raw`, `sox ... -t raw -`), "
                        "or give the file by its name"
                    )
                )
                return
            is_first = False
            if not data or not self._queue.put(data):
                self._queue.end()
                return


def container_of(data: bytes) -> str | None:
    """Name the kind of file that begins with data, None for raw audio. Pure."""
    return next((name for magic, name in _CONTAINERS.items() if data.startswith(magic)), None)
