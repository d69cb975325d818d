"""The requests of one stream, made from the caller's audio. Pure."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_client.convert import (
    to_audio_request,
    to_config_request,
    to_control_request,
    to_update_request,
)
from siren_client.types import AudioItem, Control, Update

MAX_DATA_BYTES = 256 * 1024
"""Most audio in one message, far below gRPC's usual limit of 4 MiB for a message."""


def check_audio(audio: object) -> None:
    """Raise TypeError for what looks like a whole recording where an iterable of audio belongs."""
    if isinstance(audio, (bytes, bytearray, memoryview, str)):
        raise TypeError(
            "audio is an iterable of bytes: pass [data], or use recognize(data) "
            "for a complete recording"
        )


class RequestSequence:
    """Number and wrap what a caller sends: `open()` once, then `push()` each item.

    The n-th item of audio gets `seq` n, so a result's `seq` counts the caller's
    own items. Controls and updates are not numbered.
    """

    def __init__(self, config: pb.StreamingConfig) -> None:
        self._config = config
        self._seq = 0
        self._is_ended = False

    @property
    def is_ended(self) -> bool:
        """Whether `Control.END` was pushed: nothing may follow it."""
        return self._is_ended

    def open(self) -> pb.StreamingRecognizeRequest:
        """Make the first request."""
        return to_config_request(self._config)

    def push(self, item: AudioItem) -> list[pb.StreamingRecognizeRequest]:
        """Make the requests for one item; more than one if it is too large for one.

        Raises:
            TypeError: the item is neither bytes nor a control or an update.
        """
        if self._is_ended:
            raise AssertionError("nothing may be pushed after Control.END")
        if isinstance(item, Control):
            self._is_ended = item is Control.END
            return [to_control_request(item)]
        if isinstance(item, Update):
            return [to_update_request(item)]
        if not isinstance(item, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"audio must be bytes, Control or Update, not {type(item).__name__}: "
                "an array's bytes are array.tobytes()"
            )
        return self._to_audio_requests(bytes(item))

    def _to_audio_requests(self, data: bytes) -> list[pb.StreamingRecognizeRequest]:
        self._seq += 1
        last_start = max(0, (len(data) - 1) // MAX_DATA_BYTES * MAX_DATA_BYTES)
        # Promise 2: a result names a seq when *all* of its audio is accounted
        # for, so of an item that is cut only the last piece may carry its number.
        return [
            to_audio_request(
                data[start : start + MAX_DATA_BYTES],
                seq=self._seq if start == last_start else 0,
            )
            for start in range(0, last_start + 1, MAX_DATA_BYTES)
        ]
