"""Many recordings through one server, some at a time."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import grpc

from siren_client.blocking import RecognitionStream, SirenClient
from siren_client.cli.audio_file import AudioFile, AudioFileError
from siren_client.errors import Reason, SirenError
from siren_client.types import RecognitionOptions, Result

_MAX_WAITING_UPDATES = 1000
_MOST_ATTEMPTS = 30
"""Where the server does not say that trying again may help."""
_RETRY_S = 1.0
_LONGEST_WAIT_S = 10.0
"""Between two attempts, unless the server says otherwise."""
_SAME_FOR_ALL = (
    Reason.AUTH_FAILED,
    Reason.INVALID_CONFIG,
    Reason.MODEL_NOT_FOUND,
    Reason.SHUTTING_DOWN,
)
_OF_ONE_FILE = ("config.channel", "config.sample_rate")
"""Fields of the config that say what is in a file."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A result of a recording."""

    index: int
    result: Result


@dataclass(frozen=True, slots=True)
class Finished:
    """A recording is over; nothing follows for it."""

    index: int
    error: SirenError | AudioFileError | None
    """Why it failed, if it did."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Every session of the server is taken: a recording waits its turn."""

    index: int


Update = Delivered | Finished | Waiting


class Batch:
    """Streams recordings, up to `parallel` at a time, as quickly as the server takes them.

    One that fails leaves the others alone, unless the error is one that every other would
    meet too. While every session of the server is taken it waits its turn, however long.

    Args:
        client: Of the server.
        recordings: What to send, in this order.
        read: Gives the messages of one; it may raise AudioFileError.
        options: How to recognise them; how its audio is to be read each recording says.
        parallel: How many at a time.
    """

    def __init__(
        self,
        client: SirenClient,
        recordings: Sequence[AudioFile],
        read: Callable[[AudioFile], Iterable[bytes]],
        options: RecognitionOptions,
        *,
        parallel: int,
    ) -> None:
        self._client = client
        self._recordings = recordings
        self._read = read
        self._options = options
        self._todo = deque(range(len(recordings)))
        # A bound: what is shown slowly is recognised slowly.
        self._updates: queue.Queue[Update | Exception | None] = queue.Queue(_MAX_WAITING_UPDATES)
        self._is_stopped = threading.Event()
        self.is_given_up = False  # for an error that every other recording would meet too
        self._streams: set[RecognitionStream] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(min(parallel, len(recordings)))
        ]

    def updates(self) -> Generator[Update, None, None]:
        """Do the work; give what happens as it does. Recordings never begun give nothing."""
        for thread in self._threads:
            thread.start()
        n_working = len(self._threads)
        try:
            while n_working:
                update = self._updates.get()
                if update is None:
                    n_working -= 1
                elif isinstance(update, Exception):
                    raise update
                else:
                    yield update
        finally:
            self.stop()
            while n_working:  # whoever waits for room must find it
                n_working -= self._updates.get() is None
            for thread in self._threads:
                thread.join()

    def stop(self) -> None:
        """Begin no other recording and cancel those that run; waits for nothing."""
        self._is_stopped.set()
        self._todo.clear()
        for stream in list(self._streams):
            stream.close()

    def _work(self) -> None:
        try:
            while True:
                try:
                    index = self._todo.popleft()
                except IndexError:
                    return
                self._finish(index)
        except Exception as error:  # a defect, which the thread that gives updates raises
            self._updates.put(error)
        finally:
            self._updates.put(None)

    def _finish(self, index: int) -> None:
        try:
            is_whole = self._recognize(index)
        except (SirenError, AudioFileError) as error:
            if _is_same_for_all(error):
                self.is_given_up = True
                self._todo.clear()
            self._updates.put(Finished(index, error))
        else:
            if is_whole:
                self._updates.put(Finished(index, None))

    def _recognize(self, index: int) -> bool:
        """Stream one recording; False if it was stopped before its end."""
        recording = self._recordings[index]
        options = self._options.copy()
        options.update(recording.options)
        for attempt in itertools.count(1):
            n_delivered = 0
            try:
                with self._client.stream(self._read(recording), **options) as stream:
                    for result in self._until_stopped(stream):
                        n_delivered += 1
                        self._updates.put(Delivered(index, result))
                return not self._is_stopped.is_set()
            except SirenError as error:
                is_refused = error.reason is Reason.OVERLOADED and n_delivered == 0
                is_bounded = error.retry_after_s is None
                if not is_refused or (is_bounded and attempt >= _MOST_ATTEMPTS):
                    raise
                self._updates.put(Waiting(index))
                if self._is_stopped.wait(_wait_s(error.retry_after_s, attempt)):
                    return False
        raise AssertionError("an attempt returns or raises, or is followed by another")

    def _until_stopped(self, stream: RecognitionStream) -> Iterator[Result]:
        self._streams.add(stream)
        try:
            # Asked again: stop() may have come before the stream was among those it closes.
            while not self._is_stopped.is_set():
                try:
                    result = next(stream)
                except StopIteration:
                    return
                yield result
        finally:
            self._streams.discard(stream)


def _wait_s(retry_after_s: float | None, attempt: int) -> float:
    """Return the wait behind an attempt that was refused, counted from 1. Pure."""
    least_s = retry_after_s or _RETRY_S
    return max(least_s, min(least_s * 1.5 ** min(attempt - 1, 30), _LONGEST_WAIT_S))


def _is_same_for_all(error: SirenError | AudioFileError) -> bool:
    """Whether every other recording would meet the error too. Pure."""
    if isinstance(error, AudioFileError):
        return False
    if error.reason is None:
        return error.status is grpc.StatusCode.UNAVAILABLE  # nobody answers
    if error.violations and all(v.field.startswith(_OF_ONE_FILE) for v in error.violations):
        return False
    return error.reason in _SAME_FOR_ALL
