from __future__ import annotations

import pytest

from siren_grpc.soak.known_words import Hits, Word, find
from siren_grpc.soak.timeline import Timeline


def words(text: str, *, late_s: float = 0.0) -> list[Word]:
    return [Word(word, i + late_s) for i, word in enumerate(text.split())]


def test_words_are_found_where_they_are():
    hits = find(words("one two three"), words("one too three", late_s=0.1))
    assert (hits.known, hits.heard, hits.found) == (3, 3, 2)
    assert hits.median_error_s == pytest.approx(0.1)


def test_a_drift_loses_words():
    assert find(words("a b c d"), words("a b c d", late_s=0.5)).found == 0


def test_a_word_is_found_once():
    heard = [Word("one", 0.0)]
    assert find([Word("one", 0.0), Word("one", 0.2)], heard).found == 1


def test_hits_add_up():
    assert Hits(1, 2, (0.1,)) + Hits(1, 0, ()) == Hits(2, 2, (0.1,))
    assert Hits(0, 0, ()).share == 1


def test_a_timeline_tiles_the_stream_and_is_silent_where_it_says():
    timeline = Timeline((1600, 3200), 160_000, (48_000, 96_000), 16_000, seed=1)
    at = 0
    for part in timeline.parts():
        assert part.start_samples == at
        at += part.n_samples
        if part.recording is None:
            continue
        assert part.n_samples == timeline.lengths[part.recording]
        assert not 48_000 <= part.start_samples < 96_000
    assert at >= 160_000
