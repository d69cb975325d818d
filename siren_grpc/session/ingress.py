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
        self._utterance_start_sent = 0  # in samples as sent
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
        width = self._config.encoding.sample_bytes
        self._ledger.record(seq, -(-self._received_bytes // width))
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
        return [*work, *self._end_audio(self._sent_by(limit)), EndStream(error)]

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
        seq = self._ledger.accounted(self._sent_by(end))
        return Preview(cut.samples, cut.feature_frames, cut.is_first, end, seq)

    def _chunk(self, cut: CutChunk) -> Chunk:
        end = self._position(cut)
        seq = self._ledger.settle(self._sent_by(end))
        return Chunk(cut.samples, cut.feature_frames, cut.is_first, end, seq, cut.is_last)

    def _sent_by(self, end_samples: int) -> int:
        """Return how many samples as sent are complete at a position of the stream.

        Counted from the utterance's start, where the resampler starts afresh: its rounding does
        not add up over a long stream, nor reach behind what was decoded.
        """
        heard = self._resampler.consumed(end_samples - self._utterance_start_samples)
        return min(self._utterance_start_sent + heard, self._decoded_samples)

    @property
    def _decoded_samples(self) -> int:
        """Samples as sent that are whole."""
        return self._received_bytes // self._config.encoding.sample_bytes

    def _position(self, cut: CutChunk) -> int:
        # Padding lies behind the audio: it is recognised, but it is no time in the stream.
        return min(self._utterance_start_samples + cut.end_samples, self._received_samples)

    def _end_utterance(self) -> list[Work]:
        work = self._cut(self._resampler.flush())
        # All whole samples are accounted for now, whatever the resampler rounded.
        return [*work, *self._end_audio(self._decoded_samples)]

    def _end_audio(self, sent_samples: int) -> list[Work]:
        """End the utterance with what the chunker holds; sent_samples are accounted for then."""
        cuts = self._chunker.flush(padding_samples=self._config.padding_samples)
        work: list[Work] = [self._chunk(cut) for cut in cuts]
        work.append(EndUtterance(self._received_samples, self._ledger.settle(sent_samples)))
        return work

    def _start_utterance(self) -> None:
        self._utterance_start_samples = self._received_samples
        self._utterance_start_sent = self._decoded_samples  # a split sample is yet to be heard
        self._previewed_samples = 0


class _SeqLedger:
    """Which client `seq` is accounted for at which sample as sent (promise 2)."""

    def __init__(self) -> None:
        self._open: deque[tuple[int, int]] = deque()  # (seq, samples sent by its end)
        self._last_received = 0
        self._last_settled = 0

    def record(self, seq: int, sent_samples: int) -> None:
        if seq == 0:
            return
        if seq <= self._last_received:
            raise InvalidMessage(
                f"audio.seq is {seq} after {self._last_received}; it must increase from message "
                "to message (or be 0 for messages that need no number)"
            )
        self._last_received = seq
        self._open.append((seq, sent_samples))

    def settle(self, sent_samples: int) -> int:
        """Return the largest seq that ends at or before so many samples, for good."""
        while self._open and self._open[0][1] <= sent_samples:
            self._last_settled = self._open.popleft()[0]
        return self._last_settled

    def accounted(self, sent_samples: int) -> int:
        """Return the same without settling it: a preview is looked at again."""
        seq = self._last_settled
        for open_seq, end in self._open:
            if end > sent_samples:
                break
            seq = open_seq
        return seq
