"""Greedy CTC over chunks is greedy CTC over the whole."""

from __future__ import annotations

from itertools import groupby

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.models.decoders import CtcSlotDecoder, TransducerSlotDecoder, frames_from

BLANK = 3
LABELS = st.lists(st.integers(0, BLANK), max_size=12)


class OneHot(torch.nn.Module):
    """An output layer whose input is its answer: encoder frames are one-hot labels."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, *, encoder_output: torch.Tensor) -> torch.Tensor:
        return encoder_output.transpose(1, 2)


def frames(labels: list[int], n_frames: int) -> torch.Tensor:
    """Return [1, n_frames, n_labels]; behind the labels come tokens that must not count."""
    padded = [*labels, *[0, 1] * n_frames][:n_frames]
    return torch.nn.functional.one_hot(torch.tensor([padded]), BLANK + 1).float()


def greedy(labels: list[int]) -> list[tuple[int, int]]:
    runs = groupby(enumerate(labels), key=lambda item: item[1])
    return [(label, next(run)[0]) for label, run in runs if label != BLANK]


def decode(
    decoder: CtcSlotDecoder, slot: int, labels: list[int], *, keep: bool = True
) -> list[tuple[int, int]]:
    slots = torch.tensor([slot])
    (tokens, at, counts), keep_rows = decoder.decode(
        slots, frames(labels, len(labels) + 2), torch.tensor([len(labels)])
    )
    if keep:
        keep_rows(slots, torch.tensor([0]))
    n = int(counts[0])
    return list(zip(tokens[0, :n].tolist(), at[0, :n].tolist(), strict=True))


@given(st.lists(LABELS, max_size=6))
def test_repeats_join_across_chunks(chunks: list[list[int]]) -> None:
    decoder = CtcSlotDecoder(OneHot(), BLANK, n_slots=2)
    found = [pair for chunk in chunks for pair in decode(decoder, 1, chunk)]
    assert found == greedy([label for chunk in chunks for label in chunk])


@given(LABELS, LABELS, LABELS)
def test_what_is_not_kept_leaves_no_trace(
    first: list[int], looked_at: list[int], second: list[int]
) -> None:
    decoder = CtcSlotDecoder(OneHot(), BLANK, n_slots=2)
    found = decode(decoder, 0, first)
    decode(decoder, 0, looked_at, keep=False)
    decode(decoder, 1, looked_at)
    assert found + decode(decoder, 0, second) == greedy(first + second)


@given(LABELS, LABELS)
def test_a_reset_slot_has_heard_nothing(before: list[int], after: list[int]) -> None:
    decoder = CtcSlotDecoder(OneHot(), BLANK, n_slots=1)
    decode(decoder, 0, before)
    decoder.reset(0)
    assert decode(decoder, 0, after) == greedy(after)


@given(LABELS, LABELS, LABELS, LABELS)
def test_a_tail_is_what_follows_and_leaves_no_trace(
    first: list[int], chunk: list[int], ahead: list[int], second: list[int]
) -> None:
    decoder = CtcSlotDecoder(OneHot(), BLANK, n_slots=1)
    found = decode(decoder, 0, first)
    slots, kept = torch.tensor([0]), torch.tensor([0])
    emitted, tail, keep = decoder.decode_with_tail(
        slots,
        frames(chunk + ahead, len(chunk + ahead) + 2),
        torch.tensor([len(chunk)]),
        torch.tensor([len(ahead)]),
    )
    keep(slots, kept)
    both = []
    for tokens, at, counts in (emitted, tail):
        n = int(counts[0])
        both.append(list(zip(tokens[0, :n].tolist(), at[0, :n].tolist(), strict=True)))
    assert found + both[0] == greedy(first + chunk)
    assert found + both[0] + both[1] == greedy(first + chunk + ahead)
    assert found + both[0] + decode(decoder, 0, second) == greedy(first + chunk + second)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=4), st.integers(1, 5))
def test_frames_are_taken_from_each_rows_own_start(starts: list[int], n_frames: int) -> None:
    encoded = torch.arange(6)[None, :, None].expand(len(starts), -1, 2).float()
    taken = frames_from(encoded, torch.tensor(starts), n_frames)
    assert taken.shape == (len(starts), n_frames, 2)
    for row, start in enumerate(starts):
        assert taken[row, :, 0].tolist() == [min(start + i, 5) for i in range(n_frames)]


def test_a_decoding_that_fails_leaves_no_graphs_behind() -> None:
    """What NeMo's computer has of them then is of no state, or of another's."""

    class OutOfGraphMemory:
        has_graphs = True

        def __call__(self, *_: object) -> None:
            raise torch.OutOfMemoryError

        def reset_cuda_graphs_state(self) -> None:
            self.has_graphs = False

    decoder = TransducerSlotDecoder.__new__(TransducerSlotDecoder)
    decoder._computer, decoder._phrases = OutOfGraphMemory(), None
    with pytest.raises(torch.OutOfMemoryError):
        decoder._decode(torch.zeros(1, 1, 4), torch.ones(1), None, None)
    assert not decoder._computer.has_graphs
