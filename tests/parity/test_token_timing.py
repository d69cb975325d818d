"""When tokens end and how certain they are: NeMo's own times and confidence on the same frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import groupby, pairwise

import pytest
import torch

from siren_grpc.domain.model import DecoderKind, EncoderCache, Lane
from siren_grpc.domain.results import Final, Word, WordDetail
from siren_grpc.domain.step import StepResult, StepRow, StepTiming, TokenTiming
from siren_grpc.domain.work import EndUtterance, Preview, Samples
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path, load
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer
from tests.parity.conftest import Pair
from tests.parity.siren_path import recognise, snapshot, works_of
from tests.support import sounds
from tests.support.nemo_reference import NemoReference, Timed

pytestmark = pytest.mark.parity

RNNT, CTC, TDT = DecoderKind.RNNT, DecoderKind.CTC, DecoderKind.TDT
CASES = [("nemotron", RNNT), ("hybrid", RNNT), ("hybrid", CTC), ("ctc", CTC), ("tdt", TDT)]
SPEECH = [sounds.babble(16_000 * 5 + 77, seed=11), sounds.telephone(16_000 * 3, seed=12)]
MAKE = Callable[..., Pair]


def step_all(
    backend: LoadedBackend, samples: Samples, lane: Lane, words: WordDetail = WordDetail.FINALS
) -> list[StepResult]:
    backend.reset_slot(0)
    works = works_of(samples, backend.info, lane.chunk_frames)
    return [backend.step(lane, [StepRow(0, work, words)])[0] for work in works]


def assert_times_are_nemos(results: list[StepResult], nemo: Timed, kind: DecoderKind) -> None:
    """Compare tokens with NeMo's. Punctuation has no length of its own there, but a token has."""
    timings = [result.timing for result in results]
    assert all(isinstance(timing, StepTiming) for timing in timings)
    starts = [frame for result in results for frame in result.token_frames]
    ends = [end for timing in timings for end in timing.tokens.ends]  # type: ignore[union-attr]
    assert tuple(token for result in results for token in result.tokens) == nemo.tokens
    if kind is CTC:
        # NeMo lets a label's time begin where the one before it was emitted, however long the
        # pause between them, and end where it is emitted itself: its ends are our starts.
        assert tuple(starts) == nemo.ends
        return
    if kind is RNNT:
        assert tuple(starts) == nemo.starts
        assert tuple(ends) == nemo.ends
        return
    marks = [start == end for start, end in zip(nemo.starts, nemo.ends, strict=True)]
    for i, is_mark in enumerate(marks):
        if not is_mark:
            assert (starts[i], ends[i]) == (nemo.starts[i], nemo.ends[i])
    assert marks.count(False) > 4
    assert len({end - start for start, end in zip(starts, ends, strict=True)}) > 1


def confidences_of(results: list[StepResult]) -> list[float]:
    """Return that of each token, a label's over all the steps that held it."""
    sure: list[float] = []
    for result in results:
        assert result.timing is not None
        if result.timing.held.ends and sure:
            sure[-1] = min(sure[-1], result.timing.held.confidences[0])
        sure.extend(result.timing.tokens.confidences)
    return sure


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("chunk_frames", [2, 7])
def test_times_and_confidence_are_nemos(
    pair_of: MAKE, name: str, kind: DecoderKind, chunk_frames: int
) -> None:
    pair = pair_of(name)
    for samples in SPEECH:
        results = step_all(pair.siren, samples, Lane(chunk_frames, kind))
        nemo = pair.nemo.decode_timed(samples, (70, chunk_frames - 1), kind.value)
        assert_times_are_nemos(results, nemo, kind)
        sure = confidences_of(results)
        assert sure == pytest.approx(nemo.confidences, abs=2e-4)
        assert len(set(sure)) > 5, "else equal ones would prove nothing"


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_asking_changes_nothing(pair_of: MAKE, name: str, kind: DecoderKind) -> None:
    backend, lane = pair_of(name).siren, Lane(7, kind)
    asked = step_all(backend, SPEECH[0], lane, WordDetail.PARTIALS)
    after_asking = snapshot(backend)
    plain = step_all(backend, SPEECH[0], lane, WordDetail.NONE)
    after_plain = snapshot(backend)
    assert [(r.tokens, r.token_frames) for r in asked] == [
        (r.tokens, r.token_frames) for r in plain
    ]
    assert all(result.timing is None for result in plain)
    for name_, tensor in after_plain.items():
        assert (tensor == after_asking[name_]).all(), name_


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_batch_mates_that_ask_or_not_are_told_apart(
    pair_of: MAKE, name: str, kind: DecoderKind
) -> None:
    backend, lane = pair_of(name).siren, Lane(7, kind)
    alone = step_all(backend, SPEECH[0], lane)
    queues = [works_of(samples, backend.info, 7) for samples in (SPEECH[1], SPEECH[0])]
    details = [WordDetail.NONE, WordDetail.FINALS]
    together: list[StepResult] = []
    for slot in range(2):
        backend.reset_slot(slot)
    while queues[1]:
        ready = [i for i in range(2) if queues[i]]
        rows = [StepRow(i, queues[i].pop(0), details[i]) for i in ready]
        found = dict(zip(ready, backend.step(lane, rows), strict=True))
        assert 0 not in found or found[0].timing is None
        together.append(found[1])
    assert [r.tokens for r in together] == [r.tokens for r in alone]
    assert confidences_of(together) == pytest.approx(confidences_of(alone), abs=2e-4)
    ends = [[r.timing.tokens.ends for r in results if r.timing] for results in (together, alone)]
    assert ends[0] == ends[1]


def test_a_preview_is_timed_for_partials_only(pair_of: MAKE) -> None:
    backend, lane = pair_of("hybrid").siren, Lane(14, RNNT)
    backend.reset_slot(0)
    n_timed = 0
    for work in works_of(SPEECH[0], backend.info, 14):
        preview = Preview(work.samples, work.feature_frames, work.is_first, 0, 0)
        look, plain = (
            backend.step(lane, [StepRow(0, preview, words)])[0]
            for words in (WordDetail.PARTIALS, WordDetail.FINALS)
        )
        assert look.timing is not None
        n_timed += len(look.timing.tokens.ends)
        assert len(look.timing.tokens.ends) == len(look.tokens)
        assert plain.timing is None
        backend.step(lane, [StepRow(0, work)])
    assert n_timed > 0


@pytest.fixture(scope="module")
def embedded() -> Pair:
    path = checkpoint_path(EMBEDDED_MODEL)
    assert path is not None
    return Pair(NemoReference(path), load(EMBEDDED_MODEL, device="cpu", n_slots=2, max_batch=2))


@cache
def recordings() -> list[tuple[str, Samples]]:
    return list(dict(sounds.shipped(8)).items())


def words_of(backend: LoadedBackend, samples: Samples, lane: Lane) -> tuple[Word, ...]:
    info = backend.info
    utterance = Utterance(
        Detokenizer(info.token_texts, info.punctuation),
        info.geometry(lane.chunk_frames),
        words=WordDetail.FINALS,
    )
    results = step_all(backend, samples, lane)
    for work, result in zip(works_of(samples, info, lane.chunk_frames), results, strict=True):
        utterance.advance(work, result)
    final = utterance.finish(EndUtterance(len(samples), seq=1))[-1]
    assert isinstance(final, Final)
    assert " ".join(word.text for word in final.words) == final.text
    return final.words


@pytest.mark.parametrize("chunk_frames", [2, 7])
def test_a_label_held_over_chunks_ends_where_it_ends(embedded: Pair, chunk_frames: int) -> None:
    n_held = 0
    blank = len(embedded.siren.info.token_texts)
    for _, samples in recordings():
        encoded = embedded.nemo.encode(samples, (70, chunk_frames - 1))
        head = embedded.nemo.model.ctc_decoder
        with torch.inference_mode():
            labels = head(encoder_output=encoded.T[None]).argmax(dim=-1)[0].tolist()
        runs = [list(run) for _, run in groupby(enumerate(labels), key=lambda item: item[1])]
        expected = [run[-1][0] + 1 for run in runs if run[0][1] != blank]
        ends: list[int] = []
        for result in step_all(embedded.siren, samples, Lane(chunk_frames, CTC)):
            assert result.timing is not None
            if result.timing.held.ends:
                n_held += 1
                ends[-1] = result.timing.held.ends[0]
            ends.extend(result.timing.tokens.ends)
        assert ends == expected
    assert n_held > 0


@pytest.mark.parametrize("kind", [RNNT, CTC])
def test_words_are_nemos(embedded: Pair, kind: DecoderKind) -> None:
    """A trained model and real voices: every word, where NeMo has it, as certain as NeMo is."""
    n_words = 0
    for name, samples in recordings():
        theirs = embedded.nemo.decode_timed(samples, (70, 6), kind.value).words
        ours = words_of(embedded.siren, samples, Lane(7, kind))
        assert len(ours) == len(theirs), name
        n_words += len(ours)
        assert [word.confidence for word in ours] == pytest.approx(
            [word.confidence for word in theirs], abs=2e-4
        )
        if kind is CTC:
            continue  # whose times NeMo tells otherwise: see `assert_times_are_nemos`
        assert [word.text for word in ours] == [word.text for word in theirs]
        assert [word.start_samples for word in ours] == [1280 * word.start for word in theirs]
        ends = [1280 * word.end for word in theirs]
        starts = [1280 * word.start for word in theirs[1:]]
        # NeMo's words may overlap where two are emitted at one frame.
        clipped = [min(pair) for pair in zip(ends, [*starts, len(samples)], strict=True)]
        assert [word.end_samples for word in ours] == clipped
    assert n_words > 15


def test_nemos_own_cache_gives_the_same_times(pair_of: MAKE) -> None:
    one, other = (
        step_all(pair_of("hybrid", cache).siren, SPEECH[0], Lane(7, RNNT)) for cache in EncoderCache
    )
    assert confidences_of(one) == pytest.approx(confidences_of(other), abs=1e-3)
    assert [r.timing.tokens.ends for r in one if r.timing] == [
        r.timing.tokens.ends for r in other if r.timing
    ]


def test_the_tail_of_a_chunk_is_none_for_a_cache_aware_model(pair_of: MAKE) -> None:
    for result in step_all(pair_of("hybrid").siren, SPEECH[0], Lane(7, CTC)):
        assert result.timing is not None
        assert (result.timing.tail, result.timing.tail_frames) == (TokenTiming(), ())


def test_recognition_is_the_same_as_without(pair_of: MAKE) -> None:
    backend, lane = pair_of("tdt").siren, Lane(7, TDT)
    tokens = recognise(backend, SPEECH[0], lane).tokens
    asked = step_all(backend, SPEECH[0], lane)
    assert tuple(token for result in asked for token in result.tokens) == tokens
    assert all(a <= b for r in asked for a, b in pairwise(r.token_frames))
