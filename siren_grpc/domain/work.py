"""What a stream gives the recogniser to do.

Work is in-band: a control stands in the same queue as the audio around it, so it takes effect
exactly where the client put it (after moshi-server's markers).
Positions are sample counts at the model's rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from siren_grpc.domain.endpointing import EndpointRules, FinalCause
from siren_grpc.domain.errors import SirenError
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.pickling import pickled_as_call

Samples: TypeAlias = NDArray[np.float32]
"""Mono audio, [n_samples], in [-1, 1], at the model's sample rate."""


class Voice(str, Enum):
    """Whether a chunk's step is to tell speech from silence.

    FRESH: from here on, with a detector that has heard nothing.
    """

    OFF = "off"
    FRESH = "fresh"
    ON = "on"


@pickled_as_call
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


@pickled_as_call
@dataclass(frozen=True, slots=True)
class Preview:
    """A look at the chunk that is not complete yet: recognised, but nothing is kept of it."""

    samples: Samples
    feature_frames: int
    is_first: bool
    end_samples: int
    seq: int


@pickled_as_call
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


@dataclass(frozen=True, slots=True)
class OnChannel:
    """Work for one of several channels that are recognised each by itself; it counts from 0."""

    channel: int
    work: Work


Feed: TypeAlias = Work | OnChannel
"""What a stream submits: work for a channel, or for all there are."""
