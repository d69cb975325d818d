"""Messages of one client, in order, to work for the recogniser."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from siren_grpc.audio.chunker import Chunker, CutChunk
from siren_grpc.audio.decode import AudioDecoder, Encoding
from siren_grpc.audio.resample import Resampler
from siren_grpc.domain.errors import InvalidAudio, InvalidMessage, SessionTooLong
from siren_grpc.domain.geometry import ChunkGeometry
from siren_grpc.domain.types import (
    Chunk,
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Preview,
    Samples,
    Work,
)


@dataclass(frozen=True, slots=True)
class IngressConfig:
    """How a stream's audio is read and cut.

    preview_samples: audio after which an incomplete chunk is looked at again; 0 for never.
    padding_samples: silence that follows the end of each utterance.
    max_samples: audio the stream may hold; None for no limit. All at the model's rate.
    """

    encoding: Encoding
    sample_rate_hertz: int
    geometry: ChunkGeometry
    preview_samples: int
    padding_samples: int
    max_samples: int | None


class Ingress:
    """Turns a stream's messages into work. One per stream; no clock, no I/O.

    After a method has returned `EndStream` or raised, the stream takes no more messages.
    """

    def __init__(self, config: IngressConfig) -> None:
        """Start before the first audio."""
        self._config = config
        self._decoder = AudioDecoder(config.encoding)
        self._resampler = Resampler(
            config.sample_rate_hertz, config.geometry.features.sample_rate_hertz
        )
        self._chunker = Chunker(config.geometry)
        self._ledger = _SeqLedger()
        self._is_ended = False
        self._received_bytes = 0
        self._received_samples = 0  # at the model's rate
        self._utterance_start_samples = 0
        self._utterance_start_bytes = 0
        self._previewed_samples = 0

    @property
    def is_ended(self) -> bool:
        """Whether END was received, or the stream was ended for it."""
        return self._is_ended

    def receive_audio(self, data: bytes, seq: int) -> list[Work]:
        """Take the next audio message.

        data: any number of bytes. seq: the client's number, 0 for none.
        Raises InvalidMessage for audio after END or a seq that does not increase, InvalidAudio
        for bytes that do not decode.
        """
        self._require_open("audio")
        self._received_bytes += len(data)
        self._ledger.record(seq, self._position_of_bytes(self._received_bytes))
        samples = self._resampler.push(self._decoder.push(data))
        limit = self._config.max_samples
        if limit is not None and self._received_samples + len(samples) > limit:
            return self._end_at_limit(samples[: limit - self._received_samples], limit)
        return self._cut(samples)

    def finalize(self) -> list[Work]:
        """End the utterance here; the stream goes on with a new one."""
        self._require_open("ACTION_FINALIZE")
        work = self._end_utterance()
        self._start_utterance()
        return work

    def reset(self) -> list[Work]:
        """Throw the utterance and all recognition state away."""
        self._require_open("ACTION_RESET")
        self._received_samples += len(self._resampler.flush())
        self._chunker.reset()
        self._start_utterance()
        return [DiscardUtterance(self._received_samples)]

    def end(self) -> list[Work]:
        """End the utterance and the stream: ACTION_END, or the client's half-close.

        Raises InvalidAudio when the audio ends within a sample.
        """
        self._require_open("ACTION_END")
        if self._decoder.has_split_sample:
            self._is_ended = True
            width = self._config.encoding.sample_bytes
            raise InvalidAudio(
                f"the audio ends within a sample: {self._received_bytes} bytes of "
                f"{self._config.encoding.value} ({width} bytes a sample); send whole samples"
            )
        self._is_ended = True
        return [*self._end_utterance(), EndStream()]

    def _require_open(self, what: str) -> None:
        if self._is_ended:
            raise InvalidMessage(f"{what} after ACTION_END; open a new stream to send more")

    def _end_at_limit(self, samples: Samples, limit: int) -> list[Work]:
        self._is_ended = True
        seconds = limit / self._config.geometry.features.sample_rate_hertz
        error = SessionTooLong(
            f"this stream reached the server's maximum of {seconds:g} s of audio; "
            "open a new stream to go on"
        )
        work = self._cut(samples)
        self._resampler.flush()  # what it still holds lies behind the limit
        return [*work, *self._end_utterance(), EndStream(error)]

    def _cut(self, samples: Samples) -> list[Work]:
        self._received_samples += len(samples)
        chunks = self._chunker.push(samples)
        if chunks:
            self._previewed_samples = 0
        work: list[Work] = [self._chunk(cut) for cut in chunks]
        preview = self._due_preview()
        if preview is not None:
            work.append(preview)
        return work

    def _due_preview(self) -> Preview | None:
        held = self._chunker.held_samples
        every = self._config.preview_samples
        if every <= 0 or held - self._previewed_samples < every:
            return None
        cut = self._chunker.preview()
        if cut is None:
            return None
        self._previewed_samples = held
        end = self._position(cut)
        seq = self._ledger.accounted(end)
        return Preview(cut.samples, cut.feature_frames, cut.is_first, end, seq)

    def _chunk(self, cut: CutChunk) -> Chunk:
        end = self._position(cut)
        seq = self._ledger.settle(end)
        return Chunk(cut.samples, cut.feature_frames, cut.is_first, end, seq)

    def _position_of_bytes(self, n_bytes: int) -> int:
        """Return where in the stream so many bytes end, a sample begun counting whole.

        Counted from the utterance's start, where the resampler starts afresh: its rounding does
        not add up over a long stream.
        """
        width = self._config.encoding.sample_bytes
        heard = -(-(n_bytes - self._utterance_start_bytes) // width)
        return self._utterance_start_samples + self._resampler.position(heard)

    def _position(self, cut: CutChunk) -> int:
        # Padding lies behind the audio: it is recognised, but it is no time in the stream.
        return min(self._utterance_start_samples + cut.end_samples, self._received_samples)

    def _end_utterance(self) -> list[Work]:
        work = self._cut(self._resampler.flush())
        cuts = self._chunker.flush(padding_samples=self._config.padding_samples)
        work.extend(self._chunk(cut) for cut in cuts)
        # All audio received is accounted for now, whatever the resampler rounded.
        work.append(EndUtterance(self._received_samples, self._ledger.settle_all()))
        return work

    def _start_utterance(self) -> None:
        self._utterance_start_samples = self._received_samples
        self._utterance_start_bytes = self._received_bytes
        self._previewed_samples = 0


class _SeqLedger:
    """Which client `seq` is accounted for at which sample (promise 2)."""

    def __init__(self) -> None:
        self._open: deque[tuple[int, int]] = deque()  # (seq, end of its audio in samples)
        self._last_received = 0
        self._last_settled = 0

    def record(self, seq: int, end_samples: int) -> None:
        if seq == 0:
            return
        if seq <= self._last_received:
            raise InvalidMessage(
                f"audio.seq is {seq} after {self._last_received}; it must increase from message "
                "to message (or be 0 for messages that need no number)"
            )
        self._last_received = seq
        self._open.append((seq, end_samples))

    def settle(self, end_samples: int) -> int:
        """Return the largest seq whose audio ends at or before end_samples, for good."""
        while self._open and self._open[0][1] <= end_samples:
            self._last_settled = self._open.popleft()[0]
        return self._last_settled

    def accounted(self, end_samples: int) -> int:
        """Return the same without settling it: a preview is looked at again."""
        seq = self._last_settled
        for open_seq, end in self._open:
            if end > end_samples:
                break
            seq = open_seq
        return seq

    def settle_all(self) -> int:
        self._open.clear()
        self._last_settled = self._last_received
        return self._last_settled
