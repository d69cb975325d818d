"""What a step is asked of one session, and what it finds: tokens, and when they end."""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.domain.pickling import pickled_as_call
from siren_grpc.domain.results import WordDetail
from siren_grpc.domain.work import AudioWork, Chunk


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


@pickled_as_call
@dataclass(frozen=True, slots=True)
class TokenTiming:
    """When tokens end, and how certain they are.

    ends: the encoder frame behind each token, counted as `StepResult.token_frames` is; it may lie
    behind the audio. confidences: of each, 0 to 1.
    """

    ends: tuple[int, ...] = ()
    confidences: tuple[float, ...] = ()


@pickled_as_call
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


@pickled_as_call
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
