"""What travels through the server: work on its way in, results on their way out.

Work is in-band: a control stands in the same queue as the audio around it, so it takes effect
exactly where the client put it (after moshi-server's markers).
Times are sample counts at the model's rate until the server converts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from siren_grpc.domain.endpointing import EndpointRules, FinalCause
from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.geometry import (
    BufferedContext,
    BufferedGeometry,
    ChunkGeometry,
    FeatureGeometry,
)
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.readings import Alternative, FrameSpan

Samples: TypeAlias = NDArray[np.float32]
"""Mono audio, [n_samples], in [-1, 1], at the model's sample rate."""


class DecoderKind(str, Enum):
    """The part of a model that turns encoder frames into tokens."""

    RNNT = "rnnt"
    CTC = "ctc"
    TDT = "tdt"
    """RNNT that also predicts how many frames each token lasts, and skips them."""


class EncoderCache(str, Enum):
    """What a cache-aware encoder keeps of its left context.

    KEYS_VALUES: keys and values as projected, nothing of which is computed twice. INPUTS: what
    goes into each layer, as NeMo does: half the memory, and about twice the work of a step.
    """

    KEYS_VALUES = "keys_values"
    INPUTS = "inputs"


class Precision(str, Enum):
    """How an encoder's linear layers multiply; everything else is float32.

    BF16: bfloat16 products. INT8: dynamic 8-bit quantisation, on a CPU only.
    """

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True)
class Lane:
    """What sessions must have in common to be advanced in one batch.

    model: `ModelInfo.key` of the model, or what a client calls it; empty where there is only one.
    """

    chunk_frames: int
    decoder: DecoderKind
    model: str = ""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What one stream asks of the model beyond its lane; streams of a batch may differ in it.

    language_code: one of `ModelInfo.language_codes`; empty for the first.
    """

    language_code: str = ""


DEFAULT_MODEL_OPTIONS = ModelOptions()
"""Of a stream that asks for nothing."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a loaded model is and what it offers."""

    id: str
    family: str
    language_codes: tuple[str, ...]
    """BCP-47 codes, and `auto` where the model finds out by itself; the default first."""
    features: FeatureGeometry
    look_aheads: tuple[int, ...]
    """`chunk_frames` the model was trained for or, buffered, is offered with; ascending."""
    default_chunk_frames: int
    decoders: tuple[DecoderKind, ...]
    """The default first."""
    token_texts: tuple[str | int | None, ...]
    """Text of each token, a leading space marking the start of a word; an int is a raw byte, None
    a mark that is no text and takes the space before it along, such as a language tag."""
    punctuation: frozenset[str]
    """Marks that take no space before them."""
    end_tokens: frozenset[int] = frozenset()
    """Ids of tokens such as `<EOU>`, by which the model says that a speaker has finished."""
    language_tags: Mapping[int, str] = field(default_factory=dict, hash=False)
    """The code of the language that a token says the sentence before it was in, by its id."""
    hears_voice: bool = False
    """Whether its steps tell speech from silence where a chunk asks for it."""
    buffered: tuple[BufferedContext, ...] = ()
    """The window of each look-ahead, in their order; empty for a cache-aware model."""
    biasing_decoders: tuple[DecoderKind, ...] = ()
    """Those of `decoders` that take phrases."""
    generation: int = 0
    """How many models of this id came before it in this process: other weights, other tokens."""

    @property
    def key(self) -> str:
        """Name of this one model within the process; clients know its `id` only."""
        return f"{self.id}@{self.generation}" if self.generation else self.id

    def geometry(self, chunk_frames: int) -> ChunkGeometry:
        """Return the chunk arithmetic of one of the model's look-aheads."""
        for context in self.buffered:
            if context.chunk_frames == chunk_frames:
                return BufferedGeometry(self.features, chunk_frames, context)
        return ChunkGeometry(self.features, chunk_frames)


class Voice(str, Enum):
    """Whether a chunk's step is to tell speech from silence.

    FRESH: from here on, with a detector that has heard nothing.
    """

    OFF = "off"
    FRESH = "fresh"
    ON = "on"


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next stretch of audio; chunks tile the stream.

    A whole chunk adds `ChunkGeometry.feature_frames` frames; the last of an utterance may add
    fewer, none even, and then the windows that reach behind its end see zeros.
    """

    samples: Samples
    feature_frames: int
    is_first: bool
    """First chunk since the recognition state was fresh."""
    end_samples: int
    """Where in the stream's audio the chunk ends (padding not counted)."""
    seq: int
    is_last: bool = False
    """The utterance's audio ends here: no right context is left to the next chunk."""
    marks: tuple[tuple[int, int], ...] = ()
    """Where in the chunk messages end: (samples of the stream, seq), ascending; for streams that
    may end an utterance within a chunk."""
    voice: Voice = Voice.OFF
    is_cut_short: bool = False
    """The server stops, and so the utterance ends here: what is silent in it is no endpoint."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A look at the chunk that is not complete yet: recognised, but nothing is kept of it."""

    samples: Samples
    feature_frames: int
    is_first: bool
    end_samples: int
    seq: int


@dataclass(frozen=True, slots=True)
class EndUtterance:
    """The utterance ends here: send its final and start afresh."""

    end_samples: int
    seq: int
    cause: FinalCause = FinalCause.END


@dataclass(frozen=True, slots=True)
class DiscardUtterance:
    """Throw the utterance and all recognition state away, without a final."""

    end_samples: int


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What a client may change while its stream runs.

    partial_interval_ms: audio between two partials at least; 0 sends each that differs.
    n_phrases: how many are preferred; which, the model is told.
    """

    endpointing: EndpointRules | None = None
    partial_interval_ms: int = 0
    n_phrases: int = 0


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """These options hold for the chunks that follow."""

    options: StreamOptions
    at_samples: int


@dataclass(frozen=True, slots=True)
class RestartState:
    """Forget what was recognised: the audio is heard anew from here on, by a fresh model."""

    at_samples: int


@dataclass(frozen=True, slots=True)
class UsePhrases:
    """From here on these phrases, and no others, are preferred. They were prepared before."""

    phrases: Phrases


@dataclass(frozen=True, slots=True)
class EndStream:
    """Nothing follows. `error` is what the stream ends with, None for OK."""

    error: SirenError | None = None


AudioWork: TypeAlias = Chunk | Preview
Marker: TypeAlias = (
    EndUtterance | DiscardUtterance | Reconfigure | RestartState | UsePhrases | EndStream
)
"""Work without audio: it takes effect when all audio before it has been recognised."""
Work: TypeAlias = AudioWork | Marker


class WordDetail(Enum):
    """Where a stream's results list their words, with times and confidence."""

    NONE = 0
    FINALS = 1
    PARTIALS = 2
    """In partials, and in finals."""


@dataclass(frozen=True, slots=True)
class OnChannel:
    """Work for one of several channels that are recognised each by itself; it counts from 0."""

    channel: int
    work: Work


Feed: TypeAlias = Work | OnChannel
"""What a stream submits: work for a channel, or for all there are."""


@dataclass(frozen=True, slots=True)
class StepRow:
    """One session's part of a step.

    words: what the session will tell of them. keeps_frames: whether its chunks' encoder frames are
    to be there for other readings.
    """

    slot: int
    work: AudioWork
    words: WordDetail = WordDetail.NONE
    keeps_frames: bool = False

    @property
    def wants_timing(self) -> bool:
        """Whether the step is to find out when its tokens end, and how certain they are."""
        if self.words is WordDetail.FINALS:
            return isinstance(self.work, Chunk)
        return self.words is WordDetail.PARTIALS


@dataclass(frozen=True, slots=True)
class TokenTiming:
    """When tokens end, and how certain they are.

    ends: the encoder frame behind each token, counted as `StepResult.token_frames` is; it may lie
    behind the audio. confidences: of each, 0 to 1.
    """

    ends: tuple[int, ...] = ()
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class StepTiming:
    """What a step found beside its tokens, for rows that asked.

    tokens: of `StepResult.tokens`. tail, tail_frames: of `StepResult.tail`, likewise. held: of
    the last token of the steps before, which the decoder (CTC) still holds as this one begins;
    empty when it holds none.
    """

    tokens: TokenTiming
    tail: TokenTiming = TokenTiming()
    tail_frames: tuple[int, ...] = ()
    held: TokenTiming = TokenTiming()


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step found for one row.

    tokens: new token ids, in order. token_frames: for each the encoder frame it was emitted at,
    counted from where the slot was last reset. tail: token ids of the right context as it sounds
    now, behind `tokens`; the next step recognises it anew. speech: probability of speech in each
    window of `FeatureGeometry.voice_window_samples` that is now complete, where it was asked for.
    timing: of the tokens, where it was asked for.
    """

    tokens: tuple[int, ...]
    token_frames: tuple[int, ...]
    tail: tuple[int, ...] = ()
    speech: tuple[float, ...] = ()
    timing: StepTiming | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a result, its punctuation with it.

    start_samples, end_samples: where in the stream it is. confidence: 0 to 1; None when unknown.
    is_stable: no later result of the utterance takes it back.
    """

    text: str
    start_samples: int
    end_samples: int
    confidence: float | None
    is_stable: bool = True


@dataclass(frozen=True, slots=True)
class Partial:
    """The hypothesis of the current utterance moved."""

    text: str
    stable_len: int
    seq: int
    processed_samples: int
    words: tuple[Word, ...] = ()
    """The last words of `text`, where they were asked for."""


@dataclass(frozen=True, slots=True)
class Final:
    """The whole utterance, settled.

    spoken_text: as it was spoken, where `text` is written otherwise; else empty.
    """

    text: str
    seq: int
    start_samples: int
    end_samples: int
    cause: FinalCause = FinalCause.END
    heard_at: float | None = field(default=None, compare=False)
    """When the last of the audio it needed came, by `time.monotonic`; None when unknown."""
    spoken_text: str = ""
    words: tuple[Word, ...] = ()
    """The words of `text`, where they were asked for."""
    confidence: float | None = None
    """Of the whole utterance, 0 to 1; None without words."""
    resume_samples: int | None = field(default=None, compare=False)
    """From where a fresh model hears what follows as this one would have; None when unknown."""
    language_code: str = ""
    """Of the language the model says it was in, else the one the stream asked for; may be empty."""
    frames: FrameSpan | None = field(default=None, compare=False)
    """Where the model heard it; None when unknown."""
    alternatives: tuple[Alternative, ...] = ()
    """Other readings, where they were asked for, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The stream's options changed."""

    options: StreamOptions
    at_samples: int


class SpeechEventKind(str, Enum):
    """What happened in the stream."""

    SPEECH_STARTED = "speech_started"
    SPEECH_ENDED = "speech_ended"
    SERVER_DRAINING = "server_draining"


@dataclass(frozen=True, slots=True)
class SpeechEvent:
    """Something that happened at a point of the stream.

    grace_s: with SERVER_DRAINING, how long the stream may go on.
    """

    kind: SpeechEventKind
    at_samples: int
    grace_s: float | None = None


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The last thing a session delivers; `error` is None when all went well."""

    error: SirenError | None = None


Result: TypeAlias = Partial | Final | SpeechEvent | Reconfigured | StreamEnded


@dataclass(frozen=True, slots=True)
class OfChannel:
    """A result of one of several channels, counted from 0."""

    channel: int
    result: Partial | Final | SpeechEvent
