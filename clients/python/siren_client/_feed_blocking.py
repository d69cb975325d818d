"""A caller's audio on its way into the calls of one stream, for threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from siren.v1 import speech_pb2 as pb

from siren_client.errors import SirenError
from siren_client.types import AudioItem, Result
from siren_client.unbroken import GiveUp, Retry, UnbrokenStream


class BlockingFeed:
    """Draws from the audio in the threads in which gRPC sends, one of them at a time.

    A thread that waits for audio when its call breaks hands it to the next call's. Owns the
    stream's state, which these threads and the reader's share.
    """

    def __init__(self, audio: Iterator[AudioItem], stream: UnbrokenStream) -> None:
        self.error: BaseException | None = None
        """What the audio raised."""
        self._audio = audio
        self._stream = stream
        self._changed = threading.Condition()
        self._n_calls = 0
        self._is_pulling = False
        self._is_stopped = False
        self._stopped_with: SirenError | None = None

    def requests(self, cancel: Callable[[], None]) -> Iterator[pb.StreamingRecognizeRequest]:
        """Return the next call's requests; those of the call before end. cancel: ends the call."""
        with self._changed:
            self._n_calls += 1
            self._changed.notify_all()
            first = self._stream.begin_call()
            return self._requests(first, self._n_calls, cancel)

    def receive(self, response: pb.StreamingRecognizeResponse, *, now: float) -> list[Result]:
        """See `UnbrokenStream.receive`."""
        with self._changed:
            results = self._stream.receive(response, now=now)
            self._changed.notify_all()
            return results

    def fail(
        self, error: SirenError, *, now: float, jitter: float, deadline: float | None = None
    ) -> Retry | GiveUp:
        """See `UnbrokenStream.fail`."""
        with self._changed:
            if self._is_stopped:
                return GiveUp((), self._stopped_with)
            return self._stream.fail(error, now=now, jitter=jitter, deadline=deadline)

    @property
    def wants_to_move(self) -> bool:
        """See `UnbrokenStream.wants_to_move`."""
        with self._changed:
            return self._stream.wants_to_move

    def stay(self) -> None:
        """See `UnbrokenStream.stay`."""
        with self._changed:
            self._stream.stay()

    def stop(self, error: SirenError | None = None) -> None:
        """Draw no more audio, and make no other call. error: what its reader is to raise."""
        with self._changed:
            if not self._is_stopped:
                self._is_stopped, self._stopped_with = True, error
            self._changed.notify_all()

    def leave(self) -> pb.StreamingRecognizeRequest | None:
        """See `UnbrokenStream.leave`."""
        with self._changed:
            return self._stream.leave()

    @property
    def stopped_with(self) -> SirenError | None:
        """What `stop` was given."""
        return self._stopped_with

    def wait_stopped(self, timeout_s: float) -> bool:
        """Wait so long at most; return whether `stop` was called."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_stopped, timeout_s)

    def _requests(
        self, first: pb.StreamingRecognizeRequest, number: int, cancel: Callable[[], None]
    ) -> Iterator[pb.StreamingRecognizeRequest]:
        yield first
        while (turn := self._wait_turn(number)) is not None:
            if isinstance(turn, pb.StreamingRecognizeRequest):
                yield turn
            elif not self._pull():
                cancel()
                return

    def _wait_turn(self, number: int) -> pb.StreamingRecognizeRequest | _Draw | None:
        """Wait for a request to send, or until it is this call's to draw audio; None: no more."""
        with self._changed:
            while number == self._n_calls and not self._is_stopped:
                request = self._stream.next_request()
                if request is not None:
                    return request
                if self._stream.is_done_sending:
                    return None
                if self._stream.wants_audio and not self._is_pulling:
                    self._is_pulling = True
                    return _Draw()
                self._changed.wait()
            return None

    def _pull(self) -> bool:
        """Hand the next item over; False when the audio has failed, for this call or one before."""
        item: AudioItem | None = None
        is_end, error = False, self.error
        try:
            if error is None:
                item = next(self._audio)
        except StopIteration:
            is_end = True
        except BaseException as failure:  # the reader raises it
            error = failure
        with self._changed:
            self._is_pulling = False
            self._changed.notify_all()
            try:
                if is_end:
                    self._stream.end()
                elif error is None:
                    self._stream.push(item)  # type: ignore[arg-type]  # None is refused there
            except TypeError as failure:
                error = failure
            self.error = error
        return error is None


class _Draw:
    """It is a call's turn to draw audio."""
