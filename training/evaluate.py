"""Measure word error rates of a model on speakers, voices and sentences it never heard.

Recordings are decoded greedily and whole, with the attention mask of the look-ahead concerned,
which gives what streaming gives (``training.export`` proves it).

    python -m training.evaluate --model siren-mini-en.nemo --work build --out figures.json
    python -m training.evaluate --model build/run1/last.pt --work build --quick
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from tqdm import tqdm

from training import texts
from training.augment import Speech, Wave, add_noise, mu_law, noise_like

RATE = 16000


@dataclass(frozen=True)
class TestSet:
    """Waveforms at 16 kHz and what they say."""

    waves: list[Wave]
    references: list[str]


def word_errors(reference: str, hypothesis: str) -> int:
    """Return substitutions + deletions + insertions."""
    a, b = reference.split(), hypothesis.split()
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
            diagonal, row[j] = row[j], best
    return row[-1]


def wer(references: list[str], hypotheses: list[str]) -> float:
    """Return the word error rate in percent."""
    errors = sum(word_errors(r, h) for r, h in zip(references, hypotheses, strict=True))
    return 100 * errors / max(1, sum(len(r.split()) for r in references))


def transcribe(
    net: Any, waves: list[Wave], look_ahead: list[int], *, flush_ms: int = 500
) -> tuple[list[str], list[str]]:
    """Return greedy (RNN-T, CTC) texts; zeros are appended as a server flushes its stream."""
    net.eval()
    net.encoder.set_default_att_context_size(look_ahead)
    order = sorted(range(len(waves)), key=lambda i: len(waves[i]))
    rnnt, ctc = [""] * len(waves), [""] * len(waves)
    blank = net.tokenizer.vocab_size
    for at in range(0, len(order), 16):
        rows = order[at : at + 16]
        padded = [np.pad(waves[i], (0, flush_ms * RATE // 1000)) for i in rows]
        lengths = torch.tensor([len(w) for w in padded])
        audio = torch.zeros(len(rows), int(lengths.max()))
        for row, wave in zip(audio, padded, strict=True):
            row[: len(wave)] = torch.from_numpy(wave)
        with torch.inference_mode():
            features, feature_lengths = net.preprocessor(input_signal=audio, length=lengths)
            encoded, frames = net.encoder(audio_signal=features, length=feature_lengths)
            found = net.decoding.rnnt_decoder_predictions_tensor(encoded, frames)
            best = net.ctc_decoder(encoder_output=encoded).argmax(-1)
        for i, text, line, count in zip(rows, found, best, frames, strict=True):
            rnnt[i] = text.text if hasattr(text, "text") else text
            path = torch.unique_consecutive(line[: int(count)]).tolist()
            ctc[i] = net.tokenizer.ids_to_text([p for p in path if p != blank])
    return rnnt, ctc


def fsdd_strings(folder: Path, speaker: str, count: int, *, seed: int = 5) -> TestSet:
    """Join recorded takes of one FSDD speaker into strings of 1..10 digits, at 8 kHz -> 16 kHz.

    Half of the strings have gaps of 0..400 ms of zeros, half are joined without any gap; one in
    two starts with up to half a second of zeros. Nothing follows the last take.
    """
    rng = random.Random(f"{speaker}{seed}")
    waves, references = [], []
    for i in range(count):
        digits = [rng.randrange(10) for _ in range(1 + i % 10)]
        gap = 0.4 if rng.random() < 0.5 else 0.0
        pieces = [np.zeros(int(rng.choice([0, rng.uniform(0, 0.5)]) * 8000), np.float32)]
        for digit in digits:
            take = rng.randrange(50)
            audio, _ = soundfile.read(folder / f"{digit}_{speaker}_{take}.wav", dtype="float32")
            pieces += [audio, np.zeros(int(rng.uniform(0, gap) * 8000), np.float32)]
        wave = np.concatenate(pieces[:-1])
        waves.append(np.asarray(soxr.resample(wave, 8000, RATE), np.float32))
        references.append(" ".join(texts.DIGITS[d] for d in digits))
    return TestSet(waves, references)


def synthetic(path: Path) -> TestSet:
    """Read a test file of ``training.synthesise``."""
    speech = Speech.load(path, "texts")
    waves = [speech.wave(i) for i in range(len(speech.ends))]
    return TestSet(waves, [str(t) for t in speech.labels])


def telephone(test: TestSet) -> TestSet:
    """Return the set at 8 kHz mu-law, back at 16 kHz."""
    waves = []
    for wave in test.waves:
        narrow = mu_law(np.asarray(soxr.resample(wave, RATE, 8000), np.float32))
        waves.append(np.asarray(soxr.resample(narrow, 8000, RATE), np.float32))
    return TestSet(waves, test.references)


def noisy(test: TestSet, snr_db: float, *, seed: int = 3) -> TestSet:
    """Return the set in white, pink, brown and hum noise in turn, at one SNR."""
    rng = random.Random(seed)
    colors = ["white", "pink", "brown", "hum"]
    waves = [
        add_noise(w, noise_like(colors[i % 4], len(w), rng), snr_db)
        for i, w in enumerate(test.waves)
    ]
    return TestSet(waves, test.references)


def quick_sets(tts: Path, fsdd: Path | None, speaker: str | None) -> dict[str, TestSet]:
    """Return the small sets that a training run is watched with."""
    sets = {}
    if fsdd and speaker:
        sets["fsdd"] = fsdd_strings(fsdd, speaker, 60)
    for name in ("test-digits-ked", "test-sentences-ked", "test-unseen-espeak"):
        whole = synthetic(tts / f"{name}.npz")
        sets[name[5:]] = TestSet(whole.waves[:40], whole.references[:40])
    return sets


def load(path: Path, work: Path | None) -> Any:
    """Restore a ``.nemo`` file, or the averaged weights of a training checkpoint."""
    from training import model

    if path.suffix == ".pt":
        if work is None:
            raise SystemExit("a checkpoint needs --work, for the tokenizer")
        net = model.build(work / "tokenizer")
        net.load_state_dict(torch.load(path, weights_only=True)["average"])
        return net
    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel
    from nemo.utils import logging

    logging.setLevel(logging.ERROR)
    return EncDecHybridRNNTCTCBPEModel.restore_from(str(path), map_location="cpu")


def all_sets(tts: Path, fsdd: Path | None, speakers: list[str]) -> dict[str, TestSet]:
    """Return every test set of the model card, by name."""
    sets: dict[str, TestSet] = {}
    for speaker in speakers:
        if fsdd is None:
            raise SystemExit("--speaker needs --fsdd")
        clean = fsdd_strings(fsdd, speaker, 100)
        sets[f"fsdd-{speaker}"] = clean
        sets[f"fsdd-{speaker}-mulaw8k"] = telephone(clean)
        sets[f"fsdd-{speaker}-noise15db"] = noisy(clean, 15)
        sets[f"fsdd-{speaker}-mulaw8k-noise15db"] = telephone(noisy(clean, 15))
    for kind in ("digits", "sentences", "unseen"):
        for voice in ("espeak", "ked"):
            test = synthetic(tts / f"test-{kind}-{voice}.npz")
            sets[f"{kind}-{voice}"] = test
            if kind == "digits":
                sets[f"{kind}-{voice}-mulaw8k-noise15db"] = telephone(noisy(test, 15))
    return sets


def silences(count: int = 20) -> TestSet:
    """Return zeros and noises of three seconds; every word found in them is invented."""
    rng = random.Random(11)
    colors = ["white", "pink", "brown", "hum"]
    levels = [0.0, 0.001, 0.01, 0.03, 0.1]
    waves = [
        noise_like(colors[i % 4], 3 * RATE, rng) * np.float32(levels[i % 5]) for i in range(count)
    ]
    return TestSet(waves, [""] * count)


def main() -> None:
    """Print a table, and write the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help=".nemo file, or a .pt checkpoint")
    parser.add_argument("--work", type=Path, required=True, help="has tts/ (and tokenizer/)")
    parser.add_argument("--fsdd", type=Path, help="folder of FSDD's recordings")
    parser.add_argument("--speaker", action="append", default=[], help="FSDD speaker (repeatable)")
    parser.add_argument("--quick", action="store_true", help="small sets, [70, 6] only")
    parser.add_argument("--flush-ms", type=int, default=500, help="zeros behind each recording")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--show", type=int, default=0, help="print this many results of each set")
    args = parser.parse_args()
    torch.set_num_threads(1)
    net = load(args.model, args.work)
    if args.quick:
        speaker = args.speaker[0] if args.speaker else None
        sets = quick_sets(args.work / "tts", args.fsdd, speaker)
        look_aheads = [[70, 6]]
    else:
        sets = all_sets(args.work / "tts", args.fsdd, args.speaker)
        look_aheads = [[70, 13], [70, 6], [70, 1]]
    figures: dict[str, dict[str, float]] = {}
    print(f"{'set':40} words  chunk  RNN-T    CTC   (word error rate, %)")
    for name, test in tqdm(sets.items(), disable=args.quick):
        for look_ahead in look_aheads:
            rnnt, ctc = transcribe(net, test.waves, look_ahead, flush_ms=args.flush_ms)
            chunk = look_ahead[1] + 1
            words = sum(len(r.split()) for r in test.references)
            row = {"rnnt": wer(test.references, rnnt), "ctc": wer(test.references, ctc)}
            figures.setdefault(name, {"words": words}).update(
                {f"{k}-chunk{chunk}": round(v, 2) for k, v in row.items()}
            )
            tqdm.write(f"{name:40} {words:5} {chunk:6} {row['rnnt']:6.1f} {row['ctc']:6.1f}")
            for reference, text in list(zip(test.references, rnnt, strict=True))[: args.show]:
                tqdm.write(f"    {reference}\n  > {text}")
    if not args.quick:
        rnnt, ctc = transcribe(net, silences().waves, [70, 6])
        invented = {"rnnt": sum(map(bool, rnnt)), "ctc": sum(map(bool, ctc)), "of": len(rnnt)}
        print(f"silence and noise with invented words: {invented}")
        figures["silence-invented"] = {k: float(v) for k, v in invented.items()}
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
