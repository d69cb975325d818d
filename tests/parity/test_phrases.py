"""Phrases are one session's affair: what its mates get is what they got without."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random

import pytest
import torch

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.phrases import Phrase, Phrases
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk, Samples
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.biasing import SlotPhrases
from siren_grpc.models.buffered_backend import BufferedBackend
from siren_grpc.models.loader import EMBEDDED_MODEL, load
from siren_grpc.models.phrase_arena import PhraseArena
from tests.parity.conftest import Pair
from tests.parity.siren_path import assert_speaks, transcript_of, works_of
from tests.support import sounds
from tests.support.nemo_reference import Transcript

pytestmark = pytest.mark.parity

N_SLOTS = 6


@pytest.fixture(scope="module")
def backend_of(pair_of: Callable[..., Pair]) -> Callable[[str], LoadedBackend]:
    @cache
    def make(name: str) -> LoadedBackend:
        where = EMBEDDED_MODEL if name == "embedded" else str(pair_of.path_of(name))  # type: ignore[attr-defined]
        return load(where, device="cpu", n_slots=N_SLOTS, max_batch=N_SLOTS)

    return make


@cache
def recordings(name: str) -> list[Samples]:
    random = Random(name)
    found = [sounds.babble(random.randint(8_000, 40_000), seed=i) for i in range(N_SLOTS)]
    if name == "embedded":
        found[:5] = [samples[: 16_000 * 3] for _, samples in sounds.shipped(5)]
    return found


def step_together(
    backend: LoadedBackend, lane: Lane, phrases: list[Phrases], name: str, *, seed: int = 0
) -> list[Transcript]:
    """Recognise a recording in each slot, in one batch with those that are not done."""
    trees = slot_phrases(backend)
    ids = {p: trees.load(trees.build(p)) for p in set(phrases) if p}
    random = Random(seed)
    works = [
        works_of(samples, backend.info, lane.chunk_frames, random=random)
        for samples in recordings(name)
    ]
    results: list[list[StepResult]] = [[] for _ in works]
    for slot, wanted in enumerate(phrases):
        backend.reset_slot(slot)
        trees.use(slot, ids.get(wanted))
    for at in range(max(map(len, works))):
        rows = [StepRow(slot, work[at]) for slot, work in enumerate(works) if at < len(work)]
        for row, result in zip(rows, backend.step(lane, rows), strict=True):
            if isinstance(row.work, Chunk):
                results[row.slot].append(result)
    for slot in range(len(works)):
        trees.use(slot, None)
    for tree_id in ids.values():
        assert tree_id is not None
        trees.unload(tree_id)
    return [transcript_of(backend.info, found) for found in results]


def slot_phrases(backend: LoadedBackend) -> SlotPhrases:
    trees = backend.phrase_trees
    assert isinstance(trees, SlotPhrases)
    return trees


def writable(backend: LoadedBackend, seed: int) -> Phrases:
    """Phrases of the model's own tokens: whatever it is, it can write them."""
    random = Random(seed)
    found: list[Phrase] = []
    texts = [t for t in backend.info.token_texts if isinstance(t, str) and t.strip().isalpha()]
    while len(found) < 60:
        phrase = Phrase("".join(random.choices(texts, k=random.randint(1, 4))).strip(), 10.0)
        try:
            slot_phrases(backend).build((phrase,))
        except InvalidConfig:
            continue
        found.append(phrase)
    return tuple(found)


SEEDS = range(1, 21)
"""Of phrases to try: which of them models of random weights follow is a matter of luck."""
RNNT, CTC, TDT = DecoderKind.RNNT, DecoderKind.CTC, DecoderKind.TDT
CASES = [
    ("embedded", RNNT),
    ("embedded", CTC),
    ("hybrid", RNNT),
    ("hybrid", CTC),
    ("tdt", TDT),
    ("parakeet_rnnt", RNNT),
    ("parakeet_hybrid", CTC),
    ("parakeet_tdt", TDT),
]


@pytest.mark.parametrize(("name", "decoder"), CASES)
def test_mates_without_phrases_get_what_they_got_before(
    name: str, decoder: DecoderKind, backend_of: Callable[[str], LoadedBackend]
) -> None:
    backend = backend_of(name)
    lane = Lane(backend.info.default_chunk_frames, decoder)
    plain = step_together(backend, lane, [()] * N_SLOTS, name)
    assert_speaks(*plain)
    for seed in SEEDS:
        one, other = writable(backend, seed), writable(backend, 1000 + seed)
        mixed = step_together(backend, lane, [one, (), other, (), one, ()], name)
        assert mixed[1::2] == plain[1::2]
        if mixed[::2] != plain[::2]:
            break
    assert mixed[::2] != plain[::2], "the phrases changed nothing: this proves nothing"
    for slot in (0, 2, 4):
        alone: list[Phrases] = [()] * N_SLOTS
        alone[slot] = (one, other, one)[slot // 2]
        assert step_together(backend, lane, alone, name)[slot] == mixed[slot]
    # Nothing is left of them.
    assert step_together(backend, lane, [()] * N_SLOTS, name) == plain


@pytest.mark.parametrize(("name", "decoder"), CASES)
def test_previews_and_cuts_leave_no_trace_in_phrases(
    name: str, decoder: DecoderKind, backend_of: Callable[[str], LoadedBackend]
) -> None:
    backend = backend_of(name)
    lane = Lane(backend.info.default_chunk_frames, decoder)
    phrases: list[Phrases] = [writable(backend, 3)] * N_SLOTS
    first = step_together(backend, lane, phrases, name, seed=1)
    assert first == step_together(backend, lane, phrases, name, seed=2)


@pytest.mark.parametrize("decoder", [DecoderKind.RNNT, DecoderKind.CTC])
def test_a_batch_without_phrases_asks_no_tree(
    decoder: DecoderKind,
    backend_of: Callable[[str], LoadedBackend],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = backend_of("embedded")
    lane = Lane(7, decoder)
    trees = slot_phrases(backend)
    idle = trees.load(trees.build((Phrase("seven"),)))
    assert idle is not None
    trees.use(N_SLOTS - 1, idle)  # a session with phrases that is not in the batch

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a tree was asked")

    monkeypatch.setattr(PhraseArena, "advance", refuse)
    (samples, *_) = recordings("embedded")
    works = works_of(samples, backend.info, 7)

    def recognise(slot: int) -> None:
        backend.reset_slot(slot)
        for work in works:
            backend.step(lane, [StepRow(slot, work)])

    recognise(0)
    with pytest.raises(AssertionError, match="a tree was asked"):
        recognise(N_SLOTS - 1)
    trees.use(N_SLOTS - 1, None)
    trees.unload(idle)


@pytest.mark.parametrize("name", ["embedded", "parakeet_rnnt"])
def test_a_fresh_state_is_between_phrases(
    name: str, backend_of: Callable[[str], LoadedBackend]
) -> None:
    backend = backend_of(name)
    trees = slot_phrases(backend)
    trees.states[3] = 7
    backend.reset_slot(3)
    assert trees.states[3] == 0


@pytest.mark.parametrize(
    ("name", "decoder"), [("parakeet_rnnt", RNNT), ("parakeet_tdt", TDT), ("parakeet_hybrid", CTC)]
)
def test_a_right_context_leaves_no_trace_in_phrases(
    name: str, decoder: DecoderKind, backend_of: Callable[[str], LoadedBackend]
) -> None:
    backend = backend_of(name)
    assert isinstance(backend, BufferedBackend)
    for seed in SEEDS:
        alone, _ = places_in_phrases(backend, decoder, writable(backend, seed), beyond=0)
        if len(set(alone)) > 1:
            break
    assert len(set(alone)) > 1, "no phrase was begun: this proves nothing"
    before_others, n_beyond = places_in_phrases(
        backend, decoder, writable(backend, seed), beyond=20
    )
    assert n_beyond > 0
    assert before_others == alone


def places_in_phrases(
    backend: BufferedBackend, decoder: DecoderKind, phrases: Phrases, *, beyond: int
) -> tuple[list[int], int]:
    """Decode noise of 20 frames at a time; beyond: frames of right context behind them.

    Returns where in the phrases' tree each chunk ended, and how many tokens came beyond them.
    """
    trees, slot_decoder = slot_phrases(backend), backend._parts.decoders[decoder]
    tree_id = trees.load(trees.build(phrases))
    assert tree_id is not None
    trees.use(2, tree_id)
    backend.reset_slot(2)
    torch.manual_seed(3)
    slots, lengths, ahead = torch.tensor([2]), torch.tensor([20]), torch.tensor([beyond])
    places = []
    n_beyond = 0
    for frames in torch.randn(20, 1, 40, backend._parts.model.encoder.d_model):
        rows = trees.trees_of([2], n_rows=1)
        _, tail, keep = slot_decoder.decode_with_tail(slots, frames, lengths, ahead, rows)
        keep(slots, torch.tensor([0]))
        places.append(int(trees.states[2]))
        n_beyond += int(tail[2][0])
    trees.use(2, None)
    trees.unload(tree_id)
    return places, n_beyond
