"""Phrases as trees: what they score, how they are spelled, and where they are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nemo.collections.asr.parts.context_biasing.boosting_graph_batched import GPUBoostingTreeModel
from nemo.collections.asr.parts.context_biasing.context_graph_universal import ContextGraph

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.phrases import Phrase
from siren_grpc.models.biasing import SlotPhrases
from siren_grpc.models.ctc_phrases import CtcRows, prefer_phrases
from siren_grpc.models.phrase_arena import MAX_TREES, PhraseArena
from siren_grpc.models.phrase_tree import grow
from siren_grpc.models.spelling import Speller

LETTERS = list("abcdefgh ")
CPU = torch.device("cpu")


def slot_phrases(n_slots: int = 4) -> SlotPhrases:
    speller = Speller(SimpleNamespace(decoder=SimpleNamespace(vocabulary=LETTERS)))
    return SlotPhrases(speller, len(LETTERS), n_slots=n_slots, device=CPU)


def phrases_of(*texts: str, boost: float = 4.0) -> tuple[Phrase, ...]:
    return tuple(Phrase(text, boost) for text in texts)


def boosts_along(phrases: SlotPhrases, tree_id: int, text: str) -> list[float]:
    """Return what each letter of a text is given behind those before it."""
    state, tree, found = torch.tensor([0]), torch.tensor([tree_id]), []
    for letter in text:
        scores, states = phrases.arena.advance(state, tree)
        token = LETTERS.index(letter)
        found.append(float(scores[0, token]))
        state = states[:, token]
    return found


def load(phrases: SlotPhrases, *texts: str, boost: float = 4.0) -> int:
    tree_id = phrases.load(phrases.build(phrases_of(*texts, boost=boost)))
    assert tree_id is not None
    return tree_id


def test_a_phrase_is_given_more_the_further_it_goes_on() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "bad", boost=4.0)
    first, second, third = boosts_along(phrases, tree, "bad")
    assert first == pytest.approx(1.0)
    assert 4.0 < second < third < 6.0
    assert boosts_along(phrases, tree, "cab")[:2] == [0.0, 0.0]


def test_a_phrase_left_off_costs_nothing() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "badge")
    assert boosts_along(phrases, tree, "badcc")[3:] == [0.0, 0.0]


def test_a_phrase_within_another_is_gone_on_with() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "abac", "bad")
    alone = boosts_along(phrases, tree, "bad")
    assert boosts_along(phrases, tree, "abad")[1:][2] == pytest.approx(alone[2])


@pytest.mark.parametrize("boosts", [(2.0, 6.0), (6.0, 2.0)])
def test_a_common_beginning_has_the_larger_boost(boosts: tuple[float, float]) -> None:
    phrases = slot_phrases()
    built = phrases.build((Phrase("abc", boosts[0]), Phrase("abd", boosts[1])))
    tree = phrases.load(built)
    assert tree is not None
    strong = boosts_along(phrases, tree, "abc" if boosts[0] > boosts[1] else "abd")
    weak = boosts_along(phrases, tree, "abd" if boosts[0] > boosts[1] else "abc")
    assert strong[:2] == weak[:2]
    assert strong[2] == pytest.approx(weak[2] + 4.0)
    assert strong[0] == pytest.approx(1.5)


def walk(advance: Callable[[torch.Tensor], Any], tokens: Sequence[int]) -> list[list[float]]:
    """Return the scores of all tokens before each of some tokens, and behind the last."""
    state, found = torch.tensor([0]), []
    for token in tokens:
        scores, states = advance(state)
        found.append(scores[0].tolist())
        state = states[:, token].long()
    return [*found, advance(state)[0][0].tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_trees_score_as_nemos_do(seed: int) -> None:
    random, phrases = Random(seed), slot_phrases()
    loaded, theirs, spelled = [], [], []
    for _ in range(4):
        words = sorted({"".join(random.choices("abcd", k=random.randint(1, 6))) for _ in range(12)})
        spelled = [[LETTERS.index(letter) for letter in word] for word in words]
        graph = ContextGraph(context_score=1.0, depth_scaling=4.0)
        graph.build(token_ids=spelled)
        nemos = GPUBoostingTreeModel.from_context_graph(graph, len(LETTERS), use_triton=False)
        nemos.backoff_weights.data.zero_()  # what `grow` leaves out
        theirs.append(nemos)
        loaded.append(load(phrases, *words, boost=4.0))
    phrases.unload(loaded[1])
    loaded[1] = load(phrases, "ab")  # in the gap; the others have not moved
    for mine, nemos in [*zip(loaded, theirs, strict=True)][2:]:
        ask = partial(phrases.arena.advance, model_ids=torch.tensor([mine]))
        for _ in range(10):
            tokens = random.choices(range(5), k=20)
            found = walk(ask, tokens)
            expected = walk(nemos.advance, tokens)
            assert np.allclose(found, expected)
            assert np.any(np.array(found) > 4)


def test_growing_a_large_tree_rests_in_between() -> None:
    now, work, rests = 0.0, 0.0, 0.0

    def clock() -> float:
        nonlocal now, work
        now += 0.001  # what each phrase, or each node, takes
        work += 0.001
        return now

    def sleep(seconds: float) -> None:
        nonlocal now, rests
        now += seconds
        rests += seconds

    spelled = [(3.0, [i % 7, i % 5, i % 3]) for i in range(200)]
    grow(spelled, 9, clock=clock, sleep=sleep)
    assert rests > work


def test_the_arena_neither_grows_nor_moves_and_fills_gaps() -> None:
    arena = PhraseArena(len(LETTERS), CPU, room_states=20, room_arcs=200)
    phrases = slot_phrases()
    built = phrases.build(phrases_of("abcdefgh"))  # 9 states
    where = arena.all_arcs_weights.data_ptr()
    first, second = arena.add(built), arena.add(built)
    with pytest.raises(MemoryError):
        arena.add(built)
    arena.remove(first)
    assert arena.add(built) == first
    arena.remove(second)
    arena.remove(first)
    assert not arena.has_models()
    larger = phrases.build(phrases_of("abcdefgh", "bcdefgha"))
    arena.add(larger)
    assert arena.all_arcs_weights.data_ptr() == where
    assert arena.all_arcs_weights.shape == (209,)


def test_a_tree_for_which_the_device_has_no_memory_finds_no_room_and_takes_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phrases = slot_phrases()
    built = phrases.build(phrases_of("abcdefgh"))

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("siren_grpc.models.biasing.PhraseArena", fail)
        assert phrases.load(built) is None, "none for the arena itself"
    with monkeypatch.context() as patch:
        patch.setattr(PhraseArena, "_write", fail)
        for _ in range(MAX_TREES + 1):
            assert phrases.load(built) is None
    assert not phrases.arena.has_models()
    assert [phrases.load(built) for _ in range(MAX_TREES)] == list(range(MAX_TREES))


def test_rows_without_a_tree_are_given_nothing_however_many_trees_came_and_went() -> None:
    phrases = slot_phrases()
    for _ in range(MAX_TREES + 10):
        phrases.unload(load(phrases, "abcdefgh"))
    tree = load(phrases, "abc")
    scores, states = phrases.arena.advance(torch.tensor([0, 1]), torch.tensor([-1, tree]))
    assert not scores[0].any()
    assert (states[0] == -1).all()
    assert scores[1].any()


def test_a_phrase_the_vocabulary_cannot_write_is_named_by_its_index() -> None:
    with pytest.raises(InvalidConfig) as caught:
        slot_phrases().build(phrases_of("bad", "cab 9x"))
    (violation,) = caught.value.violations
    assert violation.field == "config.biasing.phrases[1].text"
    assert "cannot write '9x'" in caught.value.message
    assert "'cab 9x'" in caught.value.message


def test_a_model_without_capitals_takes_phrases_in_lower_case() -> None:
    model = SimpleNamespace(decoder=SimpleNamespace(vocabulary=LETTERS))
    assert Speller(model).spell("  Bad   CAB ") == Speller(model).spell("bad cab")


def test_a_slot_keeps_its_phrases_over_a_restart_and_loses_its_place_in_them() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "abc")
    phrases.use(1, tree)
    phrases.states[1] = 2
    phrases.restart(1)
    assert phrases.states[1] == 0
    found = phrases.trees_of([0, 1], n_rows=3)
    assert found is not None
    assert found.ids.tolist() == [-1, tree, -1]
    assert found.rows.tolist() == [1]
    phrases.use(1, None)
    assert phrases.trees_of([0, 1], n_rows=3) is None


BLANK = len(LETTERS)


def scores_of(frames: Sequence[dict[str, float]]) -> torch.Tensor:
    """Return log probabilities [1, n_frames, n_labels]; `_` is the blank, others are unlikely."""
    scores = torch.full((1, len(frames), BLANK + 1), -20.0)
    for at, frame in enumerate(frames):
        for letter, score in frame.items():
            scores[0, at, BLANK if letter == "_" else LETTERS.index(letter)] = score
    return scores


def prefer(phrases: SlotPhrases, tree: int, frames: Sequence[dict[str, float]]) -> str:
    """Return the labels of frames, decoded from one frame to the next as from chunk to chunk."""
    scores = scores_of(frames)
    last = heard = torch.tensor([BLANK])
    states, labels = torch.tensor([0]), ""
    for at in range(len(frames)):
        one = scores[:, at : at + 1]
        rows = CtcRows(one, last, heard, torch.tensor([tree]), states)
        found, behind = prefer_phrases(rows, phrases.arena)
        last, heard, states = found[:, 0], one.argmax(dim=2)[:, 0], behind[:, 0]
        labels += "_" if last == BLANK else LETTERS[int(last)]
    whole, _ = prefer_phrases(
        CtcRows(
            scores,
            torch.tensor([BLANK]),
            torch.tensor([BLANK]),
            torch.tensor([tree]),
            torch.tensor([0]),
        ),
        phrases.arena,
    )
    assert labels == "".join("_" if i == BLANK else LETTERS[i] for i in whole[0].tolist())
    return labels


def test_ctc_writes_the_phrase_where_it_is_nearly_as_likely() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "bad", boost=2.0)
    heard: list[dict[str, Any]] = [{"b": -0.1}, {"e": -0.5, "a": -1.5}, {"d": -0.1}]
    assert prefer(phrases, tree, heard) == "bad"
    clear: list[dict[str, Any]] = [{"b": -0.1}, {"e": -0.1, "a": -9.0}, {"d": -0.1}]
    assert prefer(phrases, tree, clear) == "bed"


def test_a_token_that_was_replaced_and_goes_on_is_not_a_second_one() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "bad", boost=2.0)
    heard = [{"b": -0.1}, {"e": -0.5, "a": -1.5}, {"e": -0.1, "g": -3.0}, {"d": -0.1}]
    assert prefer(phrases, tree, heard) == "baad"


def test_a_blank_gives_way_within_a_phrase_only() -> None:
    phrases = slot_phrases()
    tree = load(phrases, "bad", boost=2.0)
    assert prefer(phrases, tree, [{"b": -0.1}, {"_": -0.5, "a": -1.5}, {"d": -0.1}]) == "bad"
    assert prefer(phrases, tree, [{"_": -0.5, "b": -0.6}, {"_": -0.1}]) == "__"
    assert prefer(phrases, tree, [{"b": -0.1}, {"_": -0.5, "c": -0.6}]) == "b_"
