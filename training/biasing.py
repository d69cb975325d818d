"""Measure what phrase lists do: names that no dictionary has, and speech that has none of them.

Made-up names, spoken by espeak-ng and flite within a few carrier sentences, are recognised by
stream with and without a list of them; so are recordings without any such name. Prints a Markdown
table with, for each test set, the share of names that were found, the word error rate, and the
share of recordings with a phrase that nobody said, all in percent.

    python -m training.biasing --fsdd DIR                 # the tables of docs/biasing.md
    python -m training.biasing --fsdd DIR --sweep         # boosts from 0.5 to 10
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from siren_grpc.audio.chunker import Chunker
from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.phrases import DEFAULT_BOOST, MAX_PHRASES, Phrase, Phrases
from siren_grpc.domain.step import StepRow
from siren_grpc.domain.work import Chunk
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.loader import EMBEDDED_MODEL, load
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis
from training import texts
from training.augment import Wave
from training.evaluate import RATE, TestSet, fsdd_strings, word_errors
from training.synthesise import ESPEAK_TEST, Job, run_job

NAMES = (
    "silver seven, market street, doctor nine, yellow garden, winter river, garden six, "
    "captain zero, orange table, river eight, purple doctor, mister four, kitchen music, "
    "market friend, sister seven, window yellow, station five, summer water, money six, "
    "hotel hundred, music morning"
).split(", ")
"""Of bands, boats, products: words the model has heard in training, but never together."""
INVENTED = (
    "zorvath belkari mirendo talvek norabin kestova dremal sorinde havorin lumerik "
    "tobexa wendral marivo felstan corbeth osvane pelindra ragostin silvern yorlan"
).split()
"""Names of words that nobody has heard."""
CARRIERS = ["call {name}", "my name is {name}", "tell {name} i will be late", "{name}"]
VOICES = [("espeak", voice) for voice in ESPEAK_TEST[:3]] + [("flite", "kal16"), ("flite", "slt")]
_SAID = frozenset(" ".join(texts.UNSEEN).split())
_N_NAMES = len(NAMES) + len(INVENTED)
_BATCH = 40
_PADDING_SAMPLES = RATE // 2
_SYLLABLES = "ba den dor fel gar hin jor kal lin mar nov pel rin sol tan vor wen yel zan".split()


@dataclass(frozen=True)
class Figures:
    """What a list did to a test set, in percent; recall is None where no name is said."""

    recall: float | None
    word_error_rate: float
    invented: float


def spoken_names(names: Sequence[str]) -> TestSet:
    """Return every name by every voice, in one carrier or another."""
    waves: list[Wave] = []
    references = []
    for i, name in enumerate(names):
        for j, (engine, voice) in enumerate(VOICES):
            text = CARRIERS[(i + j) % len(CARRIERS)].format(name=name)
            audio = run_job(Job(text, engine, voice))
            if audio is None:
                raise RuntimeError(f"{engine} {voice} did not say {text!r}")
            waves.append(audio.astype(np.float32) / 32768)
            references.append(text)
    return TestSet(waves, references)


def sentences() -> TestSet:
    """Return sentences outside the model's grammar, by the voices of the names in turn."""
    waves: list[Wave] = []
    references = []
    for i, text in enumerate(texts.UNSEEN):
        audio = run_job(Job(text, *VOICES[i % len(VOICES)]))
        if audio is not None:
            waves.append(audio.astype(np.float32) / 32768)
            references.append(text)
    return TestSet(waves, references)


def shipped() -> TestSet:
    """Return the recordings in tests/data."""
    folder = Path(__file__).parent.parent / "tests/data/recordings"
    said = json.loads((folder / "references.json").read_text())
    waves = []
    for name in said:
        audio, hertz = soundfile.read(folder / name, dtype="float32")
        waves.append(audio if hertz == RATE else soxr.resample(audio, hertz, RATE))
    return TestSet([np.asarray(wave, np.float32) for wave in waves], list(said.values()))


def phrase_list(count: int, boost: float) -> Phrases:
    """Return a list with all the names, filled up with others that are never said."""
    rng = random.Random(11)
    names = dict.fromkeys([*NAMES, *INVENTED])
    while len(names) < count:
        name = "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 3))))
        if name not in _SAID:  # "garden" is one
            names[name] = None
    return tuple(Phrase(name, boost) for name in list(names)[:count])


def transcribe(
    backend: LoadedBackend, lane: Lane, waves: Sequence[Wave], phrases: Phrases
) -> list[str]:
    """Recognise recordings as streams, in batches, each with the phrases."""
    tree_id = None
    if phrases:
        tree_id = backend.phrase_trees.load(backend.phrase_trees.build(phrases))
        if tree_id is None:
            raise RuntimeError("no room for the phrases")
    order = sorted(range(len(waves)), key=lambda i: len(waves[i]))
    found = [""] * len(waves)
    for at in range(0, len(order), _BATCH):
        which = order[at : at + _BATCH]
        for slot in range(len(which)):
            backend.reset_slot(slot)
            backend.phrase_trees.use(slot, tree_id)
        works = [_chunks(backend, lane, waves[i]) for i in which]
        tokens: list[list[int]] = [[] for _ in which]
        for step in range(max(map(len, works))):
            rows = [slot for slot in range(len(which)) if step < len(works[slot])]
            results = backend.step(lane, [StepRow(slot, works[slot][step]) for slot in rows])
            for slot, result in zip(rows, results, strict=True):
                tokens[slot] += result.tokens
        for i, ids in zip(which, tokens, strict=True):
            hypothesis = Hypothesis(Detokenizer(backend.info.token_texts, backend.info.punctuation))
            hypothesis.extend(ids)
            found[i] = hypothesis.finish()
        for slot in range(len(which)):
            backend.phrase_trees.use(slot, None)
    if tree_id is not None:
        backend.phrase_trees.unload(tree_id)
    return found


def _chunks(backend: LoadedBackend, lane: Lane, wave: Wave) -> list[Chunk]:
    chunker = Chunker(backend.info.geometry(lane.chunk_frames))
    cuts = [*chunker.push(wave), *chunker.flush(padding_samples=_PADDING_SAMPLES)]
    return [Chunk(c.samples, c.feature_frames, c.is_first, c.end_samples, 0) for c in cuts]


def figures(test: TestSet, found: Sequence[str], phrases: Phrases) -> Figures:
    """Compare transcripts with what was said."""
    listed = {phrase.text for phrase in phrases or phrase_list(_N_NAMES, DEFAULT_BOOST)}
    said = [_phrases_in(reference, listed) for reference in test.references]
    heard = [_phrases_in(text, listed) for text in found]
    n_said = sum(map(len, said))
    errors = sum(map(word_errors, test.references, found))
    return Figures(
        recall=_percent(sum(len(a & b) for a, b in zip(said, heard, strict=True)), n_said)
        if n_said
        else None,
        word_error_rate=_percent(errors, sum(len(r.split()) for r in test.references)),
        invented=_percent(sum(bool(b - a) for a, b in zip(said, heard, strict=True)), len(found)),
    )


def _phrases_in(text: str, phrases: Iterable[str]) -> set[str]:
    return {phrase for phrase in phrases if f" {phrase} " in f" {text} "}


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole


def rows(
    backend: LoadedBackend, tests: dict[str, TestSet], lists: Iterable[Phrases]
) -> Iterable[str]:
    """Yield the lines of a table: of each test set recall, error rate and invented phrases."""
    yield f"| decoder | phrases | boost | {' | '.join(tests)} |"
    yield "| --- " * (3 + len(tests)) + "|"
    for phrases in lists:
        for decoder in (DecoderKind.RNNT, DecoderKind.CTC):
            lane = Lane(backend.info.default_chunk_frames, decoder)
            cells = []
            for test in tests.values():
                got = figures(test, transcribe(backend, lane, test.waves, phrases), phrases)
                recall = "" if got.recall is None else f"**{got.recall:.0f}**, "
                cells.append(f"{recall}{got.word_error_rate:.1f}, {got.invented:.1f}")
            boost = f"{phrases[0].boost:g}" if phrases else "-"
            yield f"| {decoder.value} | {len(phrases)} | {boost} | {' | '.join(cells)} |"


def build_times(backend: LoadedBackend) -> Iterable[str]:
    """Yield how long trees take to be made."""
    for count in (10, 100, MAX_PHRASES):
        phrases = phrase_list(count, DEFAULT_BOOST)
        began = time.perf_counter()
        backend.phrase_trees.build(phrases)
        yield f"| {count} phrases | {1000 * (time.perf_counter() - began):.1f} ms |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED_MODEL)
    parser.add_argument("--fsdd", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="digit strings of each speaker")
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    backend = load(options.model, device="cpu", n_slots=_BATCH, max_batch=_BATCH)
    strings = [fsdd_strings(options.fsdd, who, options.count) for who in ("jackson", "nicolas")]
    tests = {
        "names": spoken_names(NAMES),
        "invented words": spoken_names(INVENTED),
        "recordings": shipped(),
        "digit strings": TestSet(
            [wave for part in strings for wave in part.waves],
            [text for part in strings for text in part.references],
        ),
        "sentences": sentences(),
    }
    if options.sweep:
        lists = [phrase_list(100, boost) for boost in (1, 2, 3, 4, 5, 6, 8, 10)]
    else:
        lists = [phrase_list(n, DEFAULT_BOOST) for n in (_N_NAMES, 100, 300, MAX_PHRASES)]
    for line in rows(backend, tests, [(), *lists]):
        print(line, flush=True)
    for line in build_times(backend):
        print(line)


if __name__ == "__main__":
    main()
