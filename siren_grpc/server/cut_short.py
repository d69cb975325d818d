"""What the client of a stream that the server cuts short sees, if it goes on elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from siren.v1 import speech_pb2 as pb

_OF_SPEECH = (pb.SpeechEvent.TYPE_SPEECH_STARTED, pb.SpeechEvent.TYPE_SPEECH_ENDED)


class CutShort:
    """Passes on the responses behind an interruption, but for what heard an end of the audio.

    That end is the server's doing: the stable text of the last partials, and a start of speech
    found only there, would be no promise to a client that goes on elsewhere. It does without the
    final too, unless it finds no other server.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._held: list[pb.StreamingRecognizeResponse] = []
        """Events, and what came behind one, until their final says whether it was cut short."""

    def passed_on(
        self, response: pb.StreamingRecognizeResponse
    ) -> Sequence[pb.StreamingRecognizeResponse]:
        """Return what the client is to see, now that a response is there."""
        kind = response.WhichOneof("response")
        if kind == "partial":
            return ()
        if kind == "event" or (kind != "final" and self._held):
            self._held.append(response)
            return ()
        if kind != "final":
            return (response,)
        held, self._held = self._held, []
        if response.final.cause == pb.FinalResult.CAUSE_SHUTDOWN:
            # Speech that started before was told, and ends here; what starts only now does neither.
            started = pb.SpeechEvent.TYPE_SPEECH_STARTED
            if any(response.event.type == started for response in held):
                held = [response for response in held if response.event.type not in _OF_SPEECH]
        return (*held, response)
