"""Models that are told the language: each stream hears what NeMo hears in that language alone."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import pytest

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind, Lane, ModelOptions
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk, Samples
from siren_grpc.models.backend import LoadedBackend
from tests.parity.conftest import Pair
from tests.parity.siren_path import assert_speaks, snapshot, transcript_of, works_of
from tests.support import checkpoints, sounds
from tests.support.nemo_reference import Transcript, steps_lose_the_tail

pytestmark = pytest.mark.parity

RNNT, CTC = DecoderKind.RNNT, DecoderKind.CTC
LANGUAGES = ("auto", "en-US", "de-DE", "mt-MT")
SPEECH = [sounds.babble(16_000 * 3 + 77, seed=1), sounds.telephone(16_000 * 4, seed=3)]
MAKE = Callable[..., Pair]


def recognise(
    backend: LoadedBackend, samples: Samples, lane: Lane, language: str, *, slot: int = 0
) -> Transcript:
    """Recognise a recording alone in a slot opened for a language."""
    backend.open_slot(slot, ModelOptions(language))
    works = works_of(samples, backend.info, lane.chunk_frames)
    results = [backend.step(lane, [StepRow(slot, work)])[0] for work in works]
    return transcript_of(backend.info, results)


@pytest.mark.parametrize("chunk_frames", [4, 7, 14])
def test_every_language_is_nemos_own_stepping_with_that_prompt(
    pair_of: MAKE, chunk_frames: int
) -> None:
    pair = pair_of("prompted")
    lane, look_ahead = Lane(chunk_frames, RNNT), (56, chunk_frames - 1)
    for samples in SPEECH:
        while steps_lose_the_tail(len(samples) // 160, chunk_frames):
            samples = samples[:-160]
        heard = []
        for language in LANGUAGES:
            pair.nemo.speak(language)
            ours = recognise(pair.siren, samples, lane, language)
            for theirs in (
                pair.nemo.decode_stepwise(samples, look_ahead, "rnnt"),
                pair.nemo.decode_offline(samples, look_ahead, "rnnt"),
            ):
                assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames), language
                assert ours.text.strip() == theirs.text.strip()
            heard.append(ours)
        assert_speaks(*heard)
        assert len({transcript.tokens for transcript in heard}) == len(LANGUAGES)


@pytest.mark.parametrize("kind", [RNNT, CTC])
def test_hybrids_and_dictionaries_with_underscores(pair_of: MAKE, kind: DecoderKind) -> None:
    pair = pair_of("prompted_hybrid")
    assert pair.siren.info.language_codes == ("en-US", "de-DE")
    heard = []
    for code, theirs_code in (("en-US", "en_US"), ("de-DE", "de_DE")):
        pair.nemo.speak(theirs_code)
        ours = recognise(pair.siren, SPEECH[0], Lane(7, kind), code)
        theirs = pair.nemo.decode_stepwise(SPEECH[0], (70, 6), kind.value)
        assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames)
        heard.append(ours)
    assert_speaks(*heard)
    assert heard[0].tokens != heard[1].tokens


@pytest.mark.parametrize("kind", [RNNT, CTC])
def test_offline_models_are_prompted_within_their_window(pair_of: MAKE, kind: DecoderKind) -> None:
    pair = pair_of("prompted_parakeet")
    context = next(c for c in pair.siren.info.buffered if c.chunk_frames == 6)
    heard = []
    for code, theirs_code in (("en-US", "en_US"), ("de-DE", "de_DE")):
        pair.nemo.speak(theirs_code)
        ours = recognise(pair.siren, SPEECH[0], Lane(6, kind), code)
        frames = (context.left_frames, context.chunk_frames, context.right_frames)
        theirs = pair.nemo.decode_buffered(SPEECH[0], frames, kind.value)
        assert ours.tokens == theirs.tokens
        heard.append(ours)
    assert_speaks(*heard)
    assert heard[0].tokens != heard[1].tokens


@pytest.mark.parametrize("seed", range(2))
def test_mates_of_other_languages_do_not_matter(pair_of: MAKE, seed: int) -> None:
    """Five streams, four languages: they join and leave as they like, previewed now and then."""
    backend = pair_of("prompted").siren
    random = Random(seed)
    lane = Lane(7, RNNT)
    recordings = [sounds.babble(random.randint(9_000, 50_000), seed=seed * 9 + i) for i in range(5)]
    languages = [*LANGUAGES, ""]
    random.shuffle(languages)
    expected = [
        recognise(backend, samples, lane, language).tokens
        for samples, language in zip(recordings, languages, strict=True)
    ]
    queues = [works_of(samples, backend.info, 7, random=random) for samples in recordings]
    results: list[list[StepResult]] = [[] for _ in recordings]
    slots = random.sample(range(6), 5)
    for slot, language in zip(slots, languages, strict=True):
        backend.open_slot(slot, ModelOptions(language))
    while any(queues):
        ready = [i for i, queue in enumerate(queues) if queue and random.random() < 0.7]
        if not ready:
            continue
        rows = [StepRow(slots[i], queues[i].pop(0)) for i in ready]
        for i, row, result in zip(ready, rows, backend.step(lane, rows), strict=True):
            if isinstance(row.work, Chunk):
                results[i].append(result)
    assert [transcript_of(backend.info, found).tokens for found in results] == expected
    assert sum(map(len, expected)) > 10


def test_an_utterances_end_keeps_the_language_and_the_next_stream_has_its_own(
    pair_of: MAKE,
) -> None:
    backend = pair_of("prompted").siren
    lane = Lane(7, RNNT)
    german = recognise(backend, SPEECH[0], lane, "de-DE", slot=2)
    backend.reset_slot(2)
    works = works_of(SPEECH[0], backend.info, 7)
    again = [backend.step(lane, [StepRow(2, work)])[0] for work in works]
    assert transcript_of(backend.info, again) == german
    default = recognise(backend, SPEECH[0], lane, "", slot=2)
    assert default == recognise(backend, SPEECH[0], lane, "auto", slot=1)
    assert default != german


def test_a_language_the_model_does_not_have_is_refused_and_changes_nothing(pair_of: MAKE) -> None:
    backend = pair_of("prompted").siren
    recognise(backend, SPEECH[0], Lane(7, RNNT), "de-DE", slot=3)
    before = snapshot(backend)
    with pytest.raises(InvalidConfig, match="'fr-FR' has no prompt; use auto, en-US, en, en-GB"):
        backend.open_slot(3, ModelOptions("fr-FR"))
    for key, tensor in snapshot(backend).items():
        np.testing.assert_array_equal(tensor, before[key], err_msg=key)


def test_codes_are_those_of_the_dictionary_the_default_first(pair_of: MAKE) -> None:
    # `enGB` is a spelling of the dictionary, no BCP-47 code.
    codes = ("auto", "en-US", "en", "en-GB", "es-ES", "es-US", "es", "de-DE", "mt-MT")
    assert pair_of("prompted").siren.info.language_codes == codes


def test_tags_of_languages_are_no_text(pair_of: MAKE) -> None:
    texts = pair_of("prompted").siren.info.token_texts
    assert texts.count(None) == len([code for code in checkpoints.LANGUAGES if "-" in code])
