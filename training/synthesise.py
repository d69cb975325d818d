"""Make the synthetic speech: many espeak-ng, flite and festival voices reading grammar texts.

Writes ``OUT/NAME.npz`` files, each with ``audio`` (int16, all utterances end to end at 16 kHz),
``ends`` (int64 sample offsets), ``texts`` and ``voices``. Voices in ``HELD_OUT_VOICES`` and
sentences of ``texts.is_held_out`` never enter a training file.

    python -m training.synthesise --out build/tts --split train --engine espeak --count 12000
    python -m training.synthesise --out build/tts --split test
    python -m training.synthesise --out build/takes --split takes   # DIGIT_VOICE_TAKE.wav, as FSDD
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

from training import texts

RATE = 16000
ESPEAK_ACCENTS = [
    "en-us", "en-us", "en-us", "en-gb", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan",
    "en-gb-x-gbcwmd", "en-029", "en-us-nyc",
]  # fmt: skip
ESPEAK_VARIANTS = (
    "m1 m2 m3 m4 m5 m6 m8 f1 f3 f4 f5 Alex Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky "
    "Lee Marco Mario Michael Mr\\ serious Nguyen RicishayMax RicishayMax2 adam anika antonio "
    "aunty belinda benjamin boris caleb david ed edward edward2 grandma grandpa gustave iven "
    "iven2 iven3 iven4 john kaukovalta klatt klatt2 klatt3 klatt4 linda marcelo max michel miguel "
    "norbert pablo paul pedro quincy rob robert sandro shelby steph steph2 travis victor zac"
)
ESPEAK_TEST = ["en-us+m7", "en-gb+f2", "en-us+Mike", "en-gb-scotland+Andrea", "en-gb-x-rp+steph3"]
#: voices whose single digits are written as takes
ESPEAK_TAKES = [
    "en-us+m3", "en-gb+f4", "en-us+f5", "en-gb-scotland+m1", "en-029+m4", "en-us-nyc+Andy",
    "en-gb-x-rp+linda", "en-gb-x-gbclan+max", "en-us+klatt2", "en-gb-x-gbcwmd+Annie",
]  # fmt: skip
FLITE_TRAIN = ["awb", "rms", "slt", "kal16", "kal"]
FESTIVAL_TRAIN = ["voice_cmu_us_slt_arctic_hts", "voice_kal_diphone"]
FESTIVAL_TEST = ["voice_ked_diphone"]
HELD_OUT_VOICES = ESPEAK_TEST + FESTIVAL_TEST


@dataclass(frozen=True)
class Job:
    """One utterance to synthesise; rates are factors around the engine's normal speech."""

    text: str
    engine: str
    voice: str
    speed: float = 1.0
    pitch: int = 50


def espeak_variants() -> list[str]:
    """Return the variants used for training; names with spaces are left out."""
    return [v for v in ESPEAK_VARIANTS.replace("Mr\\ serious ", "").split()]


def run_job(job: Job) -> NDArray[np.int16] | None:
    """Synthesise one utterance, 16 kHz mono; None when the engine fails."""
    spoken = texts.to_spoken(job.text)
    with tempfile.NamedTemporaryFile(suffix=".wav", dir="/dev/shm") as wav:
        command, stdin = _command(job, spoken, wav.name)
        try:
            subprocess.run(
                command, input=stdin, check=True, capture_output=True, text=True, timeout=60
            )
            audio, rate = soundfile.read(wav.name, dtype="float32")
        except (subprocess.SubprocessError, RuntimeError):
            return None
    if audio.ndim > 1:
        audio = audio[:, 0]
    audio = _trim(audio)
    if audio.size < rate // 10 or audio.size > 15 * rate:
        return None
    if job.engine != "espeak" and job.pitch != 50:  # a factor on rate: moves pitch and formants
        rate = int(rate * (1 + (job.pitch - 50) / 400))
    audio = soxr.resample(audio, rate, RATE).astype(np.float32) if rate != RATE else audio
    peak = float(np.abs(audio).max())
    return (audio / max(peak, 1e-4) * 0.7 * 32767).astype(np.int16)


def _command(job: Job, spoken: str, path: str) -> tuple[list[str], str | None]:
    if job.engine == "espeak":
        words = str(int(165 * job.speed))
        pitch = str(job.pitch)
        return ["espeak-ng", "-v", job.voice, "-s", words, "-p", pitch, "-w", path, spoken], None
    if job.engine == "flite":
        stretch = f"duration_stretch={1 / job.speed:.3f}"
        return ["flite", "-voice", job.voice, "--setf", stretch, "-t", spoken, "-o", path], None
    stretch = f"(Parameter.set 'Duration_Stretch {1 / job.speed:.3f})"
    evaluate = f"(begin ({job.voice}) {stretch})"
    return ["text2wave", "-eval", evaluate, "-o", path], spoken


def _trim(audio: NDArray[np.float32], *, threshold: float = 0.01) -> NDArray[np.float32]:
    """Cut silence at both ends, keeping 20 ms."""
    loud = np.flatnonzero(np.abs(audio) > threshold * max(float(np.abs(audio).max()), 1e-4))
    if loud.size == 0:
        return audio
    return audio[max(0, loud[0] - 320) : loud[-1] + 320]


def draw_text(rng: random.Random, digits: float) -> str:
    """Draw a training text; a share ``digits`` of digit strings."""
    while True:
        if rng.random() < digits:
            return texts.digit_string(rng, rng.choice([1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10]))
        text = texts.sentence(rng)[1]
        if not texts.is_held_out(text) and text not in texts.UNSEEN:
            return text


def training_jobs(engine: str, count: int, digits: float, rng: random.Random) -> Iterator[Job]:
    """Draw training jobs of one engine."""
    variants = espeak_variants()
    for _ in range(count):
        text = draw_text(rng, digits)
        speed = min(max(rng.gauss(1.0, 0.15), 0.7), 1.45)
        if engine == "espeak":
            while True:
                voice = f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(variants)}"
                if voice not in HELD_OUT_VOICES:
                    break
            yield Job(text, engine, voice, speed, rng.randint(15, 85))
        else:
            voices = FLITE_TRAIN if engine == "flite" else FESTIVAL_TRAIN
            pitch = 50 if rng.random() < 0.2 else rng.randint(0, 100)
            yield Job(text, engine, rng.choice(voices), speed, pitch)


def test_jobs(rng: random.Random) -> dict[str, list[Job]]:
    """Return the test sets, all in held-out voices."""
    held: list[str] = []
    while len(held) < 120:
        text = texts.sentence(rng)[1]
        if texts.is_held_out(text) and text not in held:
            held.append(text)
    digits = [texts.digit_string(rng, 1 + i % 10) for i in range(60)]
    voices = [("espeak", v) for v in ESPEAK_TEST] + [("festival", v) for v in FESTIVAL_TEST]

    def spread(lines: list[str], chosen: list[tuple[str, str]]) -> list[Job]:
        return [Job(t, *chosen[i % len(chosen)]) for i, t in enumerate(lines)]

    return {
        "test-sentences-espeak": spread(held, voices[:5]),
        "test-sentences-ked": spread(held, voices[5:]),
        "test-unseen-espeak": spread(texts.UNSEEN, voices[:5]),
        "test-unseen-ked": spread(texts.UNSEEN, voices[5:]),
        "test-digits-espeak": spread(digits, voices[:5]),
        "test-digits-ked": spread(digits, voices[5:]),
    }


def synthesise(jobs: list[Job], path: Path, *, processes: int) -> None:
    """Run the jobs and write one file."""
    audio: list[NDArray[np.int16]] = []
    kept: list[Job] = []
    with Pool(processes) as pool:
        for job, wave in zip(jobs, tqdm(pool.imap(run_job, jobs, 8), total=len(jobs)), strict=True):
            if wave is not None:
                audio.append(wave)
                kept.append(job)
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        audio=np.concatenate(audio),
        ends=np.cumsum([a.size for a in audio]),
        texts=np.array([j.text for j in kept]),
        voices=np.array([f"{j.engine}:{j.voice}" for j in kept]),
    )
    partial.replace(path)
    hours = sum(a.size for a in audio) / RATE / 3600
    print(f"{path.name}: {len(kept)} utterances, {hours:.2f} h, {len(jobs) - len(kept)} failed")


def write_takes(out: Path) -> None:
    """Write single digits of flite and espeak-ng voices as WAV: DIGIT_VOICE_TAKE.wav, as FSDD."""
    voices = [("flite", v) for v in FLITE_TRAIN[:4]] + [("espeak", v) for v in ESPEAK_TAKES]
    for engine, voice in tqdm(voices):
        for digit, word in enumerate(texts.DIGITS):
            for take, speed in enumerate([0.75, 0.85, 0.95, 1.05, 1.15, 1.3]):
                wave = run_job(Job(word, engine, voice, speed))
                if wave is not None:
                    name = f"{digit}_{engine}-{voice.replace('+', '-')}_{take}.wav"
                    soundfile.write(out / name, wave, RATE)


def main() -> None:
    """Write one training file, the test files or the single digits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the .npz files")
    parser.add_argument("--split", choices=["train", "test", "takes"], default="train")
    parser.add_argument("--engine", choices=["espeak", "flite", "festival"], default="espeak")
    parser.add_argument("--count", type=int, default=1000, help="utterances to make")
    parser.add_argument("--digits", type=float, default=0.3, help="share of digit strings")
    parser.add_argument("--seed", type=int, default=1, help="also part of the file's name")
    parser.add_argument("--processes", type=int, default=2, help="engines run at once")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"{args.split}{args.engine}{args.seed}")
    if args.split == "test":
        for name, jobs in test_jobs(rng).items():
            synthesise(jobs, args.out / f"{name}.npz", processes=args.processes)
        return
    if args.split == "takes":
        write_takes(args.out)
        return
    jobs = list(training_jobs(args.engine, args.count, args.digits, rng))
    path = args.out / f"train-{args.engine}-{args.seed}.npz"
    synthesise(jobs, path, processes=args.processes)


if __name__ == "__main__":
    main()
