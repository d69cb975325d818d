"""When tokens end and how certain they are, for the rows of a step that ask.

Both are found behind the step's decoding, from the same encoder frames and the state before them:
decoding itself is the same with and without, and costs the rows that do not ask nothing.

Confidence is one of NeMo's measures (`asr_confidence_utils`; Laptev and Ginsburg, 2023, "Fast
entropy-based methods of word-level confidence estimation for end-to-end automatic speech
recognition"): the entropy of the labels' probabilities, normalised exponentially. With alpha 1, not
NeMo's 0.33: on noisy digits that tells errors better (area under the ROC curve 0.86, not 0.81), and
spreads over 0 to 1. A transducer's is taken where it emitted the token, durations left out; CTC's
is the least over the frames that hold the label. Ends are NeMo's, too: a frame behind an RNNT
token, TDT's durations. CTC's tokens end where their label does, which NeMo does not tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from nemo.collections.asr.modules.rnnt import RNNTDecoder
from nemo.collections.asr.parts.submodules.transducer_decoding.label_looping_base import (
    BatchedLabelLoopingState,
)
from nemo.collections.asr.parts.utils.asr_confidence_utils import (
    ConfidenceMethodConfig,
    get_confidence_measure_bank,
)

from siren_grpc.domain.step import StepResult, StepRow, StepTiming, TokenTiming

_METHOD = ConfidenceMethodConfig(alpha=1.0)
_MEASURE = get_confidence_measure_bank()[
    f"{_METHOD.name}_{_METHOD.entropy_type}_{_METHOD.entropy_norm}"
]
_DIGITS = 4
"""Of a confidence: the digits behind depend on the batch."""


@dataclass(frozen=True, slots=True)
class FoundTokens:
    """The tokens of a row: those of its chunk, and behind them the `tail_frames` and their tokens.

    frames, tail_frames: where each was emitted, counted since the slot's reset. n_frames: encoder
    frames of the chunk. n_tail_frames: those of the right context.
    """

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    n_frames: int
    tail: tuple[int, ...] = ()
    tail_frames: tuple[int, ...] = ()
    n_tail_frames: int = 0


class TimingDecoder(Protocol):
    """Tells of tokens it has decoded when they end and how certain they are."""

    def timing(
        self, slots: torch.Tensor, encoded: torch.Tensor, found: Sequence[FoundTokens]
    ) -> list[StepTiming]:
        """Return the timing of each row's tokens; the slots are as they were before the step.

        slots: [n_rows] int64. encoded: [n_rows, n_encoder_frames, d_model].
        """
        ...


def with_timing(
    decoder: TimingDecoder,
    rows: Sequence[StepRow],
    results: Sequence[StepResult],
    found: Sequence[FoundTokens],
    slots: torch.Tensor,
    encoded: torch.Tensor,
) -> list[StepResult]:
    """Return the results of a step, those of the rows that ask with the timing of their tokens.

    slots: [n_rows or more] int64. encoded: [n_rows or more, n_encoder_frames, d_model].
    """
    asking = [i for i, row in enumerate(rows) if row.wants_timing]
    which = torch.tensor(asking, device=slots.device)
    timings = decoder.timing(slots[which], encoded[which], [found[i] for i in asking])
    timed = list(results)
    for i, timing in zip(asking, timings, strict=True):
        timed[i] = replace(results[i], timing=timing)
    return timed


def transducer_timing(
    computer: Any,
    state: BatchedLabelLoopingState,
    encoded: torch.Tensor,
    found: Sequence[FoundTokens],
) -> list[StepTiming]:
    """Return the timing of tokens that an RNNT or TDT computer emitted. state: before them.

    The joint network is asked again where each was emitted, all of them at once.
    """
    tokens = [(*row.tokens, *row.tail) for row in found]
    frames = [(*row.frames, *row.tail_frames) for row in found]
    most = max(map(len, tokens))
    if most == 0:
        return [StepTiming(TokenTiming()) for _ in found]
    device = encoded.device
    spelled = _padded(tokens, most, device)
    at = _padded(frames, most, device)
    within = (at - state.decoded_lengths[:, None]).clamp(0, encoded.shape[1] - 1)
    heard = encoded.gather(1, within[:, :, None].expand(-1, -1, encoded.shape[2]))
    joint = computer.joint
    logits = joint.joint_after_projection(
        joint.project_encoder(heard).flatten(0, 1)[:, None],
        _predicted_before(computer, state, spelled).flatten(0, 1)[:, None],
    ).view(*at.shape, -1)
    n_durations = 0 if state.time_jumps is None else len(computer.durations)
    n_labels = logits.shape[-1] - n_durations
    confidence = _confidence(logits[..., :n_labels].log_softmax(dim=-1))
    lasts = torch.ones_like(at)
    if n_durations:
        lasts = computer.durations.to(device)[logits[..., n_labels:].argmax(dim=-1)]
    packed = torch.stack(((at + lasts).double(), confidence.double())).tolist()
    return [_split(row, *parts) for row, *parts in zip(found, *packed, strict=True)]


def ctc_timing(
    log_probs: torch.Tensor,
    last_label: torch.Tensor,
    decoded_frames: torch.Tensor,
    blank: int,
    found: Sequence[FoundTokens],
) -> list[StepTiming]:
    """Return the timing of tokens read from CTC labels.

    log_probs: [n_rows, n_frames, n_labels]. last_label, decoded_frames: [n_rows], of the frames
    before them.
    """
    confidence = _confidence(log_probs)
    packed = torch.stack((log_probs.argmax(dim=-1).double(), confidence.double())).tolist()
    before = torch.stack((last_label, decoded_frames)).tolist()
    return [
        _labels_timing(row, _Labels(labels, certainties, decoded), None if last == blank else last)
        for row, labels, certainties, last, decoded in zip(found, *packed, *before, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Labels:
    """The best label of each encoder frame and its confidence; the first is number `start`."""

    labels: Sequence[float]
    confidences: Sequence[float]
    start: int

    def run(self, label: int, first: int, behind: int) -> tuple[int, float]:
        """Return where a label ends that is held from a frame on, and its least confidence."""
        end = first
        while end < behind and self.labels[end - self.start] == label:
            end += 1
        held = self.confidences[first - self.start : max(end, first + 1) - self.start]
        return end, min(held, default=1.0)


def _labels_timing(row: FoundTokens, labels: _Labels, last: int | None) -> StepTiming:
    def timing(tokens: Sequence[int], frames: Sequence[int], behind: int) -> TokenTiming:
        runs = [labels.run(*each, behind) for each in zip(tokens, frames, strict=True)]
        # Where a phrase was preferred, the token is not the best label: it lasts one frame.
        ends = tuple(max(end, frame + 1) for (end, _), frame in zip(runs, frames, strict=True))
        return TokenTiming(ends, tuple(_rounded(least) for _, least in runs))

    held = TokenTiming()
    end = labels.start + row.n_frames
    if last is not None:
        held_to, least = labels.run(last, labels.start, end)
        if held_to > labels.start:
            held = TokenTiming((held_to,), (_rounded(least),))
    return StepTiming(
        timing(row.tokens, row.frames, end),
        timing(row.tail, row.tail_frames, end + row.n_tail_frames),
        row.tail_frames,
        held,
    )


def _split(row: FoundTokens, ends: Sequence[float], confidences: Sequence[float]) -> StepTiming:
    n, n_all = len(row.tokens), len(row.tokens) + len(row.tail)

    def timing(first: int, behind: int) -> TokenTiming:
        return TokenTiming(
            tuple(map(int, ends[first:behind])), tuple(map(_rounded, confidences[first:behind]))
        )

    return StepTiming(timing(0, n), timing(n, n_all), row.tail_frames)


def _predicted_before(
    computer: Any, state: BatchedLabelLoopingState, tokens: torch.Tensor
) -> torch.Tensor:
    """Return the predictor's output before each of the tokens [n_rows, n_tokens], projected."""
    outputs = [state.predictor_outputs]
    hidden = state.predictor_states
    n_rows, n_tokens = tokens.shape
    # A stateless predictor takes one token at a time.
    width = max(1, n_tokens - 1) if isinstance(computer.decoder, RNNTDecoder) else 1
    for some in tokens[:, :-1].split(width, dim=1) if n_tokens > 1 else ():
        output, hidden, *_ = computer.decoder.predict(
            some, hidden, add_sos=False, batch_size=n_rows
        )
        outputs.append(computer.joint.project_prednet(output))
    return torch.cat(outputs, dim=1)


def _confidence(log_probs: torch.Tensor) -> torch.Tensor:
    sure: torch.Tensor = _MEASURE(
        torch.nan_to_num(log_probs.float()), v=log_probs.shape[-1], t=_METHOD.alpha
    )
    return sure.clamp(0.0, 1.0)


def _padded(rows: Sequence[tuple[int, ...]], width: int, device: torch.device) -> torch.Tensor:
    return torch.tensor([[*row, *(0,) * (width - len(row))] for row in rows], device=device)


def _rounded(confidence: float) -> float:
    return round(confidence, _DIGITS)
