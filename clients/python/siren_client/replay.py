"""The requests of a stream that may have to be sent again. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from google.protobuf.message import Message
from siren.v1 import speech_pb2 as pb

_PCM_SAMPLE_BYTES = {
    pb.AUDIO_ENCODING_UNSPECIFIED: 2,
    pb.AUDIO_ENCODING_LINEAR16: 2,
    pb.AUDIO_ENCODING_FLOAT32: 4,
    pb.AUDIO_ENCODING_MULAW: 1,
    pb.AUDIO_ENCODING_ALAW: 1,
}
_DEFAULT_HERTZ = 16000
_NS = 1_000_000_000
_ENTRY_BYTES = 64


class AudioClock:
    """Which byte of a stream's audio lies at which time; nothing of compressed audio."""

    def __init__(self, config: pb.StreamingConfig) -> None:
        width = _PCM_SAMPLE_BYTES.get(config.encoding)
        self._sample_bytes = None if width is None else width * max(1, config.channel_count)
        self._hertz = config.sample_rate_hertz or _DEFAULT_HERTZ

    @property
    def can_cut(self) -> bool:
        """Whether audio can be sent from a time on: every sample can be found, and read alone."""
        return self._sample_bytes is not None

    def byte_at(self, time_ns: int) -> int:
        """Return where the sample at a time begins."""
        return round(time_ns * self._hertz / _NS) * (self._sample_bytes or 0)

    def time_of(self, position: int) -> int:
        """Return the time of a byte, in nanoseconds."""
        return position * _NS // (self._hertz * (self._sample_bytes or 1))


@dataclass(slots=True)
class _Entry:
    request: pb.StreamingRecognizeRequest
    start: int
    """Bytes of audio before it."""

    @property
    def n_bytes(self) -> int:
        """What keeping it takes."""
        return _ENTRY_BYTES + len(self.request.audio.data)

    @property
    def end(self) -> int:
        return self.start + len(self.request.audio.data)

    @property
    def action(self) -> int:
        return self.request.control.action


@dataclass(frozen=True, slots=True)
class _Point:
    """Between two requests, or within an audio request: its index, and the byte to start at."""

    index: int
    byte: int


class ReplayBuffer:
    """The last requests of a stream, by index, and from where on they are to be sent again.

    Requests are counted from 0 on, the config not counted. Those before the point of replay are
    forgotten; updates among them become part of `config`.
    """

    def __init__(self, config: pb.StreamingConfig, *, max_bytes: int) -> None:
        """Start empty. max_bytes: kept at most; what is longer cannot be replayed."""
        self.config = pb.StreamingConfig()
        self.config.CopyFrom(config)
        self.n_folded_updates = 0
        """Updates that are part of `config` now."""
        self._clock = AudioClock(config)
        self._max_bytes = max_bytes
        self._entries: deque[_Entry] = deque()
        self._first = 0
        self._n_bytes = 0
        self._sent_bytes = 0
        self._finalizes: deque[int] = deque()
        """Indices of ACTION_FINALIZE without a final yet."""
        self._n_finalized = 0
        self._fresh = self._last_end = _Point(0, 0)
        self._has_gap = False
        """Audio behind the point of replay was forgotten."""
        self._repeats_until_ns: int | None = None

    @property
    def first(self) -> int:
        """Index of the oldest request kept."""
        return self._first

    @property
    def end(self) -> int:
        """Index of the next request to be appended."""
        return self._first + len(self._entries)

    @property
    def can_replay(self) -> bool:
        """Whether all that a new stream needs is here."""
        return not self._has_gap

    @property
    def start_ns(self) -> int:
        """The time from which a replay would send audio."""
        return self._clock.time_of(self._fresh.byte) if self._clock.can_cut else 0

    @property
    def repeats_until_ns(self) -> int | None:
        """The time up to which a replay repeats finals that have come; None: it repeats none."""
        return self._repeats_until_ns

    @property
    def n_answered_finalizes(self) -> int:
        """ACTION_FINALIZE among the requests of a replay that have had their final."""
        return 0 if self._clock.can_cut else self._n_finalized

    def append(self, request: pb.StreamingRecognizeRequest) -> None:
        """Keep the next request."""
        entry = _Entry(request, self._sent_bytes)
        if entry.action == pb.Control.ACTION_FINALIZE:
            self._finalizes.append(self.end)
        self._entries.append(entry)
        self._n_bytes += entry.n_bytes
        self._sent_bytes = entry.end

    def trim(self, n_sent: int) -> None:
        """Forget the oldest requests if they are too much. n_sent: index of the first not sent."""
        if self._n_bytes > self._max_bytes and self._clock.can_cut:
            self._start_at_last_end()
            self._forget(self._fresh.index)
        while self._n_bytes > self._max_bytes and self._first < n_sent:
            self._has_gap = True
            self._forget(self._first + 1)

    def get(self, index: int) -> pb.StreamingRecognizeRequest:
        """Return a request that is kept."""
        return self._entries[index - self._first].request

    @property
    def can_cut(self) -> bool:
        """Whether times tell where in the audio a request lies."""
        return self._clock.can_cut

    def reset_behind(self, time_ns: int) -> int | None:
        """Return when the first ACTION_RESET at or behind a time takes effect; None: never.

        Of audio that can be cut.
        """
        for entry in self._entries:
            at = self._clock.time_of(entry.start)
            if entry.action == pb.Control.ACTION_RESET and at >= time_ns:
                return at
        return None

    def reset_behind_seq(self, seq: int) -> int | None:
        """Return the `seq` before the first ACTION_RESET at or behind another; None: there is none.

        Of any audio. Nor is there one when an ACTION_FINALIZE without its final comes first.
        """
        before = 0
        for index, entry in enumerate(self._entries, start=self._first):
            if entry.request.HasField("audio"):
                before = entry.request.audio.seq
            elif before < seq:
                continue
            elif index in self._finalizes:
                return None
            elif entry.action == pb.Control.ACTION_RESET:
                return before
        return None

    def note_final(
        self,
        *,
        start_ns: int,
        end_ns: int,
        resume_ns: int,
        is_finalize: bool,
        is_fresh_behind: bool = False,
    ) -> None:
        """Move the point of replay on behind a final.

        is_finalize: it answers the oldest ACTION_FINALIZE that had no answer. is_fresh_behind: the
        recogniser starts afresh behind it, if need be from the utterance's own start on.
        """
        index = None
        if is_finalize:
            self._n_finalized += 1
            index = self._finalizes.popleft() + 1 if self._finalizes else None
        if not self._clock.can_cut:
            self._repeats_until_ns = end_ns
            return
        if index is not None and index >= self._first:
            self._fresh = self._last_end = _Point(index, self._start_of(index))
            self._repeats_until_ns = None
            self._has_gap = False
        elif index is None:
            self._last_end = self._point_at(self._clock.byte_at(end_ns))
            fresh = self._point_at(self._clock.byte_at(resume_ns))
            if fresh.byte > self._fresh.byte:
                self._fresh = fresh
            # A fresh start behind the final's own is behind its utterance: nothing is repeated.
            is_repeated = start_ns > resume_ns or (start_ns == resume_ns and not is_fresh_behind)
            self._repeats_until_ns = end_ns if is_repeated else None
            if not self._is_kept(self._fresh) and self._is_kept(self._last_end):
                self._start_at_last_end()
                self._has_gap = False
        if not self._has_gap:
            self._forget(self._fresh.index)

    def start_replay(self) -> int:
        """Forget what is before the point of replay; return the index from which on to send."""
        if self._has_gap:
            raise AssertionError("a replay needs all of its audio")
        self._forget(self._fresh.index)
        if self._entries and self._entries[0].start < self._fresh.byte:
            entry = self._entries[0]
            audio = entry.request.audio
            rest = pb.AudioChunk(data=audio.data[self._fresh.byte - entry.start :], seq=audio.seq)
            self._n_bytes -= self._fresh.byte - entry.start
            self._entries[0] = _Entry(pb.StreamingRecognizeRequest(audio=rest), self._fresh.byte)
        return self._first

    def _start_at_last_end(self) -> None:
        """Do without the last fresh start: all behind the last final is enough for a replay."""
        if (self._last_end.index, self._last_end.byte) > (self._fresh.index, self._fresh.byte):
            self._fresh = self._last_end
            self._repeats_until_ns = None

    def _start_of(self, index: int) -> int:
        """Return the byte at which a request begins that is kept, or the next to come."""
        at = index - self._first
        return self._entries[at].start if at < len(self._entries) else self._sent_bytes

    def _is_kept(self, point: _Point) -> bool:
        if not self._entries:
            return point.index == self._first
        return point.index >= self._first and point.byte >= self._entries[0].start

    def _point_at(self, byte: int) -> _Point:
        index = self._first
        for entry in self._entries:
            if entry.start >= byte or entry.end > byte:
                break
            index += 1
        return _Point(index, byte)

    def _forget(self, index: int) -> None:
        while self._first < index and self._entries:
            entry = self._entries.popleft()
            self._first += 1
            self._n_bytes -= entry.n_bytes
            if entry.request.HasField("update"):
                _fold(entry.request.update, self.config)
                self.n_folded_updates += 1


def _fold(update: pb.ConfigUpdate, config: pb.StreamingConfig) -> None:
    """Make an update part of a config, whose fields have the same names."""
    for field, value in update.ListFields():
        config.ClearField(field.name)  # type: ignore[arg-type]  # a name known at run time only
        if isinstance(value, Message):
            getattr(config, field.name).CopyFrom(value)
        elif isinstance(value, (str, bytes, int, float)):
            setattr(config, field.name, value)
        else:
            getattr(config, field.name).extend(value)
