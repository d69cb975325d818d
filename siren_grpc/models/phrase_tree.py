"""A list of phrases as an automaton: NeMo's boosting tree, grown without stopping other threads.

The tree is that of "TurboBias" (GPU-PB, https://arxiv.org/abs/2508.07014): a trie with the
suffix links of Aho and Corasick (1975), whose arcs add to the scores of the tokens that begin or
continue a phrase.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

_FIRST_SHARE = 0.25
"""Of a phrase's boost: what its first token gets. Many words begin like some phrase of a list."""
_WORK_S, _REST_S = 0.005, 0.01

Spelled = tuple[float, Sequence[int]]
"""A phrase's boost and its token ids."""


@dataclass(frozen=True, slots=True)
class BoostingTree:
    """States and arcs as NeMo's n-gram models lay them out; state 0 is between phrases.

    arc_scores, arc_tokens, arc_targets: [n_arcs], each state's arcs together and state 0's, one
    for each token, first. arcs_of: [n_states, 2], where its arcs begin and end. depths: [n_states],
    tokens of a phrase it stands for. fallbacks: [n_states], the state to go on from where none of
    its arcs fits: that of the longest suffix that begins a phrase.
    """

    arc_scores: NDArray[np.float32]
    arc_tokens: NDArray[np.int64]
    arc_targets: NDArray[np.int64]
    arcs_of: NDArray[np.int64]
    depths: NDArray[np.int64]
    fallbacks: NDArray[np.int64]


def grow(
    phrases: Sequence[Spelled],
    vocabulary_size: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> BoostingTree:
    """Make the tree of phrases.

    It is Python's work, and a step that runs meanwhile waits for the interpreter at each of its
    operations. 1000 names take 10 ms or less; where there is more to do it rests in between.
    What it differs in from NeMo's: a phrase that was begun and not finished gives nothing back.
    In a beam that settles accounts between hypotheses; a greedy decoder is pushed on by it to the
    end of the phrase, the harder the further it has come, whatever it hears.
    """
    rested = clock()

    def rest() -> None:
        nonlocal rested
        if clock() - rested > _WORK_S:
            sleep(_REST_S)
            rested = clock()

    children: list[dict[int, int]] = [{}]
    scores, depths = [0.0], [0]
    # What phrases have in common has the largest boost among them.
    for boost, tokens in sorted(phrases, key=lambda phrase: -phrase[0]):
        rest()
        node = 0
        for depth, token in enumerate(tokens):
            child = children[node].get(token)
            if child is None:
                child = children[node][token] = len(children)
                children.append({})
                scores.append(boost + log(depth + 1) if depth else _FIRST_SHARE * boost)
                depths.append(depth + 1)
            node = child
    arcs_of = np.zeros((len(children), 2), np.int64)
    fallbacks = [0] * len(children)
    sources = [*children[0].values()]
    targets = [children[0].get(token, 0) for token in range(vocabulary_size)]
    labels = [*range(vocabulary_size)]
    arcs_of[0] = (0, vocabulary_size)
    for node in sources:  # breadth first: what is found behind a node is added to the end
        rest()
        begin = len(targets)
        for token, child in children[node].items():
            suffix = fallbacks[node]
            while suffix and token not in children[suffix]:
                suffix = fallbacks[suffix]
            fallbacks[child] = children[suffix].get(token, 0)
            targets.append(child)
            labels.append(token)
            sources.append(child)
        arcs_of[node] = (begin, len(targets))
    to = np.array(targets, np.int64)
    return BoostingTree(
        arc_scores=np.array(scores, np.float32)[to],
        arc_tokens=np.array(labels, np.int64),
        arc_targets=to,
        arcs_of=arcs_of,
        depths=np.array(depths, np.int64),
        fallbacks=np.array(fallbacks, np.int64),
    )
