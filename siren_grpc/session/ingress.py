"""Messages of one client, in order, to work for the recogniser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from siren_grpc.audio.chunker import Chunker, CutChunk
from siren_grpc.audio.history import History
from siren_grpc.audio.resample import Resampler
from siren_grpc.audio.source import AudioSource, AudioSpec, make_source
from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.domain.errors import InvalidAudio, InvalidMessage, SessionTooLong
from siren_grpc.domain.geometry import ChunkGeometry
from siren_grpc.domain.work import (
    Chunk,
    DiscardUtterance,
    EndStream,
    EndUtterance,
    Preview,
    Reconfigure,
    Samples,
    StreamOptions,
    Voice,
    Work,
)
from siren_grpc.session.seq_ledger import SeqLedger, Settled

_REWIND_S = 1.0
"""How far before the last chunk a rewind may go."""


@dataclass(frozen=True, slots=True)
class IngressConfig:
    """How a stream's audio is read and cut.

    preview_samples: audio after which an incomplete chunk is looked at again; 0 for never.
    padding_samples: silence that follows the end of each utterance.
    max_samples: audio the stream may hold; None for no limit. All at the model's rate.
    options: those it starts with.
    """

    audio: AudioSpec
    geometry: ChunkGeometry
    preview_samples: int
    padding_samples: int
    max_samples: int | None
    options: StreamOptions = field(default_factory=StreamOptions)


class Ingress:
    """Turns a stream's messages into work. One per stream; no clock, no I/O.

    After a method has returned `EndStream` or raised, the stream takes no more messages: what they
    are given to raises InvalidMessage then.
    """

    def __init__(self, config: IngressConfig, source: AudioSource | None = None) -> None:
        """Start before the first audio.

        source: decodes it elsewhere, for `note`, `hear`, `close` and `fail` to be told of.
        """
        self._config = config
        self._source: AudioSource = source or make_source(config.audio)
        self._resampler = self._make_resampler()
        self._chunker = Chunker(config.geometry)
        self._ledger = SeqLedger()
        self._is_ended = False
        self._received_bytes = 0
        self._received_samples = 0  # at the model's rate
        self._utterance_start_samples = 0
        self._utterance_start_sent = 0  # in samples as sent
        self._chunks_start_samples = 0  # the utterance's, or where it was rewound to
        self._previewed_samples = 0
        self._history: History | None = None
        self._rules: EndpointRules | None = None
        self._rewound_marks: tuple[tuple[int, int], ...] = ()
        """Where messages end in rewound audio that makes no whole chunk yet."""
        self._apply(config.options)

    @property
    def received_samples(self) -> int:
        """Audio received, in samples at the model's rate."""
        return self._received_samples

    @property
    def is_ended(self) -> bool:
        """Whether END was received, or the stream was ended for it."""
        return self._is_ended

    def receive_audio(self, data: bytes, seq: int) -> list[Work]:
        """Take the next audio message at once: what all of `audio_pieces` amount to."""
        return [item for piece in self.audio_pieces(data, seq) for item in piece]

    def audio_pieces(self, data: bytes, seq: int) -> Iterator[list[Work]]:
        """Take the next audio message, and decode it as the work it amounts to is taken.

        Compressed audio may be much longer than its size says: only so much is decoded as the
        caller has submitted. Audio that does not decode ends the stream in its work.
        data: any number of bytes. seq: the client's number, 0 for none.
        Raises InvalidMessage for audio after END or a seq that does not increase.
        """
        self.note(len(data), seq)
        return self._heard(self._source.push, data)

    def _heard(
        self, decode: Callable[..., Iterable[Samples]], *data: bytes
    ) -> Iterator[list[Work]]:
        try:
            for samples in decode(*data):
                yield self.hear(samples)
                if self._is_ended:
                    return
        except InvalidAudio as error:
            yield self.fail(error)

    def note(self, n_bytes: int, seq: int) -> None:
        """Take note of the next message. Raises InvalidMessage, see `audio_pieces`."""
        self._require_open("audio")
        self._received_bytes += n_bytes
        self._ledger.record(seq, self._received_bytes)

    def hear(self, samples: Samples) -> list[Work]:
        """Take audio that was just decoded."""
        if self._history is not None:
            cut = self._chunks_start_samples + self._chunker.cut_samples
            self._history.forget_before(cut - self._most_rewound_samples)
        if not self._is_rate_known and self._source.sample_rate_hertz:
            self._resampler = self._make_resampler()  # the head has come, and nothing was heard yet
        self._ledger.place(self._source.samples_at)
        resampled = self._resampler.push(samples)
        limit = self._config.max_samples
        if limit is not None and self._received_samples + len(resampled) > limit:
            # The end of an utterance may have drawn what the resampler held across the limit.
            left = max(0, limit - self._received_samples)
            return self._end_at_limit(resampled[:left], limit)
        return self._cut(resampled)

    def finalize(self, cause: FinalCause = FinalCause.FINALIZE) -> list[Work]:
        """End the utterance here; the stream goes on with a new one."""
        self._require_open("ACTION_FINALIZE")
        work = self._end_utterance(cause)
        self._start_utterance()
        return work

    def reset(self) -> list[Work]:
        """Throw the utterance and all recognition state away."""
        self._require_open("ACTION_RESET")
        self._received_samples += len(self._resampler.flush())
        self._chunker.reset()
        if self._history is not None:
            # Nothing before it is heard again; what the resampler gave up was never in it.
            self._history = History(at_samples=self._received_samples)
        self._start_utterance()
        return [DiscardUtterance(self._received_samples)]

    def end(self) -> list[Work]:
        """End the utterance and the stream: ACTION_END, or the client's half-close.

        Audio that ends within a sample, or where its container says that more follows, ends the
        stream with InvalidAudio behind the final.
        """
        self._require_open("ACTION_END")
        work = [item for piece in self._heard(self._source.finish) for item in piece]
        return work if self._is_ended else [*work, *self.close()]

    def close(self) -> list[Work]:
        """End the utterance and the stream behind all decoded audio."""
        self._is_ended = True
        return [*self._end_utterance(FinalCause.END), EndStream()]

    def reconfigure(self, options: StreamOptions) -> list[Work]:
        """Apply other options from the next chunk on."""
        self._require_open("update")
        self._apply(options)
        at_samples = self._received_samples - self._chunker.held_samples
        return [Reconfigure(options, at_samples)]

    def rewind(self, at_samples: int, seq: int, work: Sequence[Work]) -> list[Work]:
        """Cut the audio anew from a position, where the model starts afresh: a hard endpoint.

        at_samples: in the chunk recognised last, or up to `_REWIND_S` before it. seq: what is
        accounted for there. work: that chunk and all behind it. Returns what is to follow.
        """
        if self._history is None:
            raise AssertionError("only a stream with hard endpoints is rewound")
        markers = [item for item in work if not isinstance(item, (Chunk, Preview))]
        marks = [mark for item in work if isinstance(item, Chunk) for mark in item.marks]
        marks += self._rewound_marks  # of another rewind, since which no chunk was cut
        audio = self._history.since(at_samples)
        self._chunker.reset()
        self._previewed_samples = 0
        cuts = self._chunker.push(audio)
        self._chunks_start_samples = at_samples
        n_whole = len(cuts)
        ends = [item for item in markers if isinstance(item, EndUtterance)]
        if ends:
            cuts += self._chunker.flush(padding_samples=self._config.padding_samples)
            self._chunks_start_samples = self._utterance_start_samples
        is_cut_short = any(end.cause is FinalCause.SHUTDOWN for end in ends)
        chunks: list[Work] = []
        for i, cut in enumerate(cuts):
            end = min(at_samples + cut.end_samples, self._received_samples)
            own = tuple(mark for mark in marks if mark[0] <= end)
            marks = marks[len(own) :]
            seq = own[-1][1] if own else seq
            chunk = self._chunk_of(cut, end, seq, own)
            chunks.append(_cut_short(chunk) if is_cut_short and i >= n_whole else chunk)
        self._rewound_marks = tuple(marks)
        return [*chunks, *markers]

    def _apply(self, options: StreamOptions) -> None:
        rules = options.endpointing
        self._marks_seqs = rules is not None
        self._hears_voice = rules is not None and rules.detector is EndpointDetector.VAD
        self._is_voice_fresh = rules != self._rules
        self._rules = rules
        if rules is None or not rules.is_hard:
            self._history = None
        elif self._history is None:
            held = self._chunker.held
            self._history = History(at_samples=self._received_samples - len(held))
            self._history.append(held)

    def _require_open(self, what: str) -> None:
        if self._is_ended:
            raise InvalidMessage(f"{what} after ACTION_END; open a new stream to send more")

    def _make_resampler(self) -> Resampler:
        self._is_rate_known = self._source.sample_rate_hertz != 0
        hertz = self._config.geometry.features.sample_rate_hertz
        return Resampler(self._source.sample_rate_hertz or hertz, hertz)

    def fail(self, error: InvalidAudio) -> list[Work]:
        """End the stream for its audio; what of the utterance did decode gets its final."""
        self._is_ended = True
        if self._source.n_samples == self._utterance_start_sent:
            return [EndStream(error)]
        return [*self._end_utterance(FinalCause.END), EndStream(error)]

    def _end_at_limit(self, samples: Samples, limit: int) -> list[Work]:
        self._is_ended = True
        seconds = limit / self._config.geometry.features.sample_rate_hertz
        error = SessionTooLong(
            f"this stream reached the server's maximum of {seconds:g} s of audio; "
            "open a new stream to go on"
        )
        work = self._cut(samples)
        self._resampler.flush()  # what it still holds lies behind the limit
        end = self._end_audio(self._sent_by(limit), FinalCause.SESSION_LIMIT)
        return [*work, *end, EndStream(error)]

    @property
    def _most_rewound_samples(self) -> int:
        geometry = self._config.geometry
        behind = int(_REWIND_S * geometry.features.sample_rate_hertz)
        return behind + max(geometry.chunk_samples(is_first=first) for first in (True, False))

    def _cut(self, samples: Samples) -> list[Work]:
        self._received_samples += len(samples)
        if self._history is not None:
            self._history.append(samples)
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
        settled, seq = self._ledger.settle(self._sent_by(end))
        marks = self._rewound_marks
        self._rewound_marks = ()
        if self._marks_seqs:
            marks += self._marks(settled, end)
        return self._chunk_of(cut, end, seq, marks)

    def _chunk_of(
        self, cut: CutChunk, end: int, seq: int, marks: tuple[tuple[int, int], ...]
    ) -> Chunk:
        voice = Voice.OFF
        if self._hears_voice:
            voice = Voice.FRESH if cut.is_first or self._is_voice_fresh else Voice.ON
            self._is_voice_fresh = False
        return Chunk(
            cut.samples, cut.feature_frames, cut.is_first, end, seq, cut.is_last, marks, voice
        )

    def _marks(self, settled: Sequence[Settled], end_samples: int) -> tuple[tuple[int, int], ...]:
        """Return where messages end: the first position by which they are accounted for."""
        start, start_sent = self._utterance_start_samples, self._utterance_start_sent
        return tuple(
            (min(start + self._resampler.produced(sent - start_sent), end_samples), seq)
            for seq, sent in settled
        )

    def _sent_by(self, end_samples: int) -> int:
        """Return how many samples as sent are complete at a position of the stream.

        Counted from the utterance's start, where the resampler starts afresh: its rounding does
        not add up over a long stream, nor reach behind what was decoded.
        """
        heard = self._resampler.consumed(end_samples - self._utterance_start_samples)
        return min(self._utterance_start_sent + heard, self._source.n_samples)

    def _position(self, cut: CutChunk) -> int:
        # Padding lies behind the audio: it is recognised, but it is no time in the stream.
        return min(self._chunks_start_samples + cut.end_samples, self._received_samples)

    def _end_utterance(self, cause: FinalCause) -> list[Work]:
        work = self._cut(self._resampler.flush())
        self._ledger.place(self._source.samples_at)
        # All whole samples are accounted for now, whatever the resampler rounded.
        return [*work, *self._end_audio(self._source.n_samples, cause)]

    def _end_audio(self, sent_samples: int, cause: FinalCause) -> list[Work]:
        """End the utterance with what the chunker holds; sent_samples are accounted for then."""
        cuts = self._chunker.flush(padding_samples=self._config.padding_samples)
        chunks = [self._chunk(cut) for cut in cuts]
        if cause is FinalCause.SHUTDOWN:
            chunks = [_cut_short(chunk) for chunk in chunks]
        work: list[Work] = [*chunks]
        _, seq = self._ledger.settle(sent_samples)
        work.append(EndUtterance(self._received_samples, seq, cause))
        return work

    def _start_utterance(self) -> None:
        self._rewound_marks = ()
        self._utterance_start_samples = self._received_samples
        self._chunks_start_samples = self._received_samples
        self._utterance_start_sent = self._source.n_samples  # a split sample is yet to be heard
        self._previewed_samples = 0


def _cut_short(chunk: Chunk) -> Chunk:
    return replace(chunk, is_cut_short=True)
