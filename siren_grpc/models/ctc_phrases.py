"""Greedy CTC that prefers phrases."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from siren_grpc.models.biasing import RowTrees, SlotPhrases
from siren_grpc.models.phrase_arena import PhraseArena


@dataclass(frozen=True, slots=True)
class CtcRows:
    """Rows to decode, and what they bring from the frames before. All but scores: [n_rows] int64.

    scores: log probabilities [n_rows, n_frames, n_labels], the blank last. last: the label of the
    frame before. last_heard: the one it would have had without phrases. trees, states: of the
    arena.
    """

    scores: torch.Tensor
    last: torch.Tensor
    last_heard: torch.Tensor
    trees: torch.Tensor
    states: torch.Tensor


def prefer_phrases(rows: CtcRows, arena: PhraseArena) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each frame's label and the tree's state behind it, both [n_rows, n_frames].

    As NeMo's `GreedyBatchedCTCInfer` with a boosting tree, where a new token begins its score and
    its boost choose which one. It differs from NeMo's twice: a token that goes on, but was
    replaced at its first frame, is not a new one at the next; and a token that continues a phrase
    may take the place of a blank, if with its boost it is the likelier.
    """
    blank = rows.scores.shape[2] - 1
    heard = rows.scores.argmax(dim=2)
    heard_before = torch.cat((rows.last_heard[:, None], heard[:, :-1]), dim=1)
    begins = (heard != blank) & (heard != heard_before)
    every = torch.arange(len(heard), device=heard.device)
    last, states = rows.last, rows.states
    labels, states_behind = [], []
    for frame in range(heard.shape[1]):
        own = heard[:, frame]
        label = torch.where(own == blank, own, last)
        is_new = begins[:, frame] & (own != last)
        is_within = states != arena.START_STATE
        # A GPU would have to be waited for; a CPU knows that many frames hold nothing to decide.
        if is_new.is_cuda or (is_new | is_within).any():
            boosts, next_states = arena.advance(states, rows.trees)
            boosted = rows.scores[:, frame].clone()
            boosted[:, :blank] += boosts
            boosted.scatter_(1, last[:, None], -torch.inf)  # twice the same is once, without blank
            score, best = boosted[:, :blank].max(dim=1)
            behind = next_states[every, best]
            depth = arena.depth(states, rows.trees)
            continues = is_within & (arena.depth(behind, rows.trees) == depth + 1)
            is_new |= (own == blank) & continues & (score > rows.scores[:, frame, blank])
            label = torch.where(is_new, best, label)
            states = torch.where(is_new, behind, states)
        last = label
        labels.append(label)
        states_behind.append(states)
    return torch.stack(labels, dim=1), torch.stack(states_behind, dim=1)


class CtcPhrases:
    """What a CTC decoder prefers phrases with."""

    def __init__(self, phrases: SlotPhrases) -> None:
        """Take the trees of a model's slots."""
        self._phrases = phrases

    def prefer(
        self,
        slots: torch.Tensor,
        log_probs: torch.Tensor,
        heard: torch.Tensor,
        last: torch.Tensor,
        trees: RowTrees,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return labels that prefer the phrases of the rows that have any, and the trees' states.

        log_probs: [n_rows, n_frames, n_labels]. heard: each frame's likeliest label [n_rows,
        n_frames]. last: of the frame before the label, and the one heard, [n_rows, 2]. Both
        returned are [n_rows, n_frames]; the other rows' labels are those heard.
        """
        which = trees.rows
        rows = CtcRows(
            scores=log_probs[which],
            last=last[which, 0],
            last_heard=last[which, 1],
            trees=trees.ids[which],
            states=self.of(slots[which]),
        )
        preferred, behind = prefer_phrases(rows, self._phrases.arena)
        labels, states = heard.clone(), torch.zeros_like(heard)
        labels[which], states[which] = preferred, behind
        return labels, states

    def of(self, slots: torch.Tensor) -> torch.Tensor:
        """Return where in their trees the slots are, those without one at 0."""
        return self._phrases.states[slots]

    def keep(self, slots: torch.Tensor, states: torch.Tensor) -> None:
        """Store where they are now [n_slots]."""
        self._phrases.states[slots] = states
