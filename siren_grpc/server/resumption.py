"""What a resumable stream keeps of its calls for the next one."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.session.delivery_log import DeliveryLog, NeverSent

_MAX_RESULTS = 256
"""Sent results kept. A client that missed more than these replays its audio instead."""


class Resumption:
    """How far a stream's client and server have come, as far as the server knows."""

    def __init__(self, started: pb.StreamStarted) -> None:
        """Keep what the stream was answered first."""
        self._started = started
        self._n_requests = 0
        self._log: DeliveryLog[pb.StreamingRecognizeResponse] = DeliveryLog(
            max_results=_MAX_RESULTS
        )

    @property
    def token(self) -> str:
        """What the client names the stream by."""
        return self._started.resume_token

    def count_request(self) -> None:
        """Note that a request was taken: it will take effect, whatever becomes of its call."""
        self._n_requests += 1

    def number(self, response: pb.StreamingRecognizeResponse) -> None:
        """Keep a response about to be sent, and number it if it must not be lost."""
        kind = response.WhichOneof("response")
        if kind == "partial":
            self._log.record_partial(response)
            return
        response.number = self._log.next_number()
        self._log.record(response, ends_utterance=kind == "final")

    def greet_again(self, last_result: int) -> list[pb.StreamingRecognizeResponse]:
        """Return what a new call begins with: `started`, and all that the client has missed.

        Raises Forgotten for results that were sent too long ago, and InvalidConfig for those that
        never were.
        """
        try:
            missed = self._log.since(last_result)
        except NeverSent as error:
            raise InvalidConfig.of_resume(
                "last_result",
                f"there was no such result yet ({error}); it is the number of the last result that "
                "came, 0 when none did",
            ) from None
        started = pb.StreamStarted()
        started.CopyFrom(self._started)
        started.received_requests = self._n_requests
        return [pb.StreamingRecognizeResponse(started=started), *missed]
