r"""Make the short recordings of the tests and of ``make demo``, in voices held out of training.

Every slot has many candidates (texts, held-out voices); the first that the model hears right at
all three look-aheads is kept: digits with both decoders, commands with RNN-T. They are therefore
examples of what works, not a measurement: the word error rates of the model card come from
``training.evaluate``.

    python -m training.recordings --model siren-mini-en.nemo --tests tests/data/recordings \
        --demo siren_grpc/assets
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from training import evaluate, model, texts
from training.augment import Wave, add_noise, noise_like
from training.synthesise import ESPEAK_TEST, FESTIVAL_TEST, Job, run_job

RATE = 16000
KED = ("festival", FESTIVAL_TEST[0])
VOICES = [KED, *(("espeak", voice) for voice in ESPEAK_TEST)]
COMMANDS = [
    "turn on the lights", "turn off the light", "stop the music", "play the next song",
    "volume up", "volume down", "turn left", "turn right", "set a timer for five minutes",
    "set the volume to twenty", "call seven three nine", "good morning", "thank you",
    "thank you very much", "yes please", "wake me up at seven", "set an alarm for six",
    "twenty five", "what time is it", "stop", "dial nine one one", "save the file",
    "open the file", "seven hundred dollars", "room number four two six", "see you tomorrow",
    "stop the timer", "press three", "two thousand", "three p m", "eight thirty five a m",
]  # fmt: skip


def say(text: str, voice: tuple[str, str], *, gain: float = 0.5) -> Wave:
    """Synthesise with 150 ms of silence at both ends."""
    wave = run_job(Job(text, *voice))
    if wave is None:
        raise SystemExit(f"{voice} cannot say {text!r}")
    return np.pad(wave.astype(np.float32) / 32768 * np.float32(gain), 2400)


def score(net: Any, wave: Wave, reference: str, *, has_words: bool) -> tuple[int, str]:
    """Return the word errors over all look-aheads and three levels, and one text.

    has_words: judge by RNN-T alone; digits are judged by CTC, the default, as well.

    The levels keep out what is heard right only by a hair.
    """
    waves = [np.round(wave * level * 32767).astype(np.float32) / 32768 for level in (1, 0.8, 0.65)]
    found = []
    for ahead in model.LOOK_AHEADS:
        rnnt, ctc = evaluate.transcribe(net, waves, ahead)
        found += rnnt if has_words else [*rnnt, *ctc]
    return sum(evaluate.word_errors(reference, text) for text in found), found[3]


def narrow(wave: Wave) -> Wave:
    """Return the wave as it comes back from 8 kHz."""
    eight = np.asarray(soxr.resample(wave, RATE, 8000), np.float32)
    return np.asarray(soxr.resample(eight, 8000, RATE), np.float32)


def digit_candidates(rng: random.Random, length: int, voice: tuple[str, str]) -> list[Any]:
    """Return digit strings to try."""
    return [(texts.digit_string(rng, length), voice) for _ in range(25)]


def make_tests(net: Any, folder: Path) -> None:
    """Write the recordings and ``references.json``."""
    rng = random.Random(4)
    folder.mkdir(parents=True, exist_ok=True)
    commands = [(c, v) for c in COMMANDS for v in VOICES]
    rng.shuffle(commands)
    slots: list[tuple[str, int, float | None, list[Any]]] = [
        ("digits-ked-16k", RATE, None, digit_candidates(rng, 6, KED)),
        ("digits-ked-8k", 8000, None, digit_candidates(rng, 5, KED)),
        ("digits-male-16k", RATE, None, digit_candidates(rng, 8, VOICES[1])),
        ("digits-female-8k", 8000, None, digit_candidates(rng, 4, VOICES[2])),
        ("digits-noise-16k", RATE, 15.0, digit_candidates(rng, 5, VOICES[3])),
        ("command-1", RATE, None, [c for c in commands if len(c[0].split()) > 2]),
        ("command-2", RATE, None, [c for c in commands if len(c[0].split()) > 2][::-1]),
        ("command-3-8k", 8000, None, [c for c in commands if len(c[0].split()) > 1]),
    ]
    references: dict[str, str] = {}
    for name, rate, snr, candidates in slots:
        for text, voice in candidates:
            wave = say(text, voice)
            if snr is not None:
                wave = add_noise(wave, noise_like("pink", len(wave), rng), snr)
            heard = narrow(wave) if rate == 8000 else wave
            errors, _ = score(net, heard, text, has_words=name.startswith("command"))
            if errors == 0 and text not in references.values():
                if rate == 8000:
                    wave = np.asarray(soxr.resample(wave, RATE, 8000), np.float32)
                soundfile.write(folder / f"{name}.wav", wave, rate, subtype="PCM_16")
                references[f"{name}.wav"] = text
                print(f"{name}: {voice[1]}: {text}", flush=True)
                break
        else:
            print(f"{name}: no candidate is heard right, left out", flush=True)
    quiet = noise_like("pink", 3 * RATE, rng) * np.float32(0.0005)
    soundfile.write(folder / "silence.wav", quiet, RATE, subtype="PCM_16")
    references["silence.wav"] = ""
    (folder / "references.json").write_text(json.dumps(references, indent=2) + "\n")


def make_demo(net: Any, folder: Path) -> None:
    """Write ``demo.wav`` and ``demo.txt``: a telephone number in three groups."""
    rng = random.Random(9)
    folder.mkdir(parents=True, exist_ok=True)
    pause = np.zeros(int(0.6 * RATE), np.float32)
    best: tuple[int, Wave, str] | None = None
    for attempt in range(240):
        voice = VOICES[1:][attempt % (len(VOICES) - 1)]
        groups = [texts.digit_string(rng, length) for length in (3, 3, 4)]
        spoken = [say(group, voice) for group in groups]
        wave = np.concatenate([spoken[0], pause, spoken[1], pause, spoken[2]])
        if len(wave) < 5.5 * RATE:
            continue
        whole = " ".join(groups)
        errors, found = score(net, wave, whole, has_words=False)
        if best is None or errors < best[0]:
            best = (errors, wave, whole)
            print(f"{errors} errors: {voice[1]}: {whole!r} -> {found!r}", flush=True)
        if errors == 0:
            break
    assert best is not None
    soundfile.write(folder / "demo.wav", best[1], RATE, subtype="PCM_16")
    (folder / "demo.txt").write_text(best[2] + "\n")


def main() -> None:
    """Make both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="the .nemo file")
    parser.add_argument("--tests", type=Path, help="folder for the tests' recordings")
    parser.add_argument("--demo", type=Path, help="folder for demo.wav and demo.txt")
    args = parser.parse_args()
    torch.set_num_threads(1)
    net = evaluate.load(args.model, None)
    if args.tests:
        make_tests(net, args.tests)
    if args.demo:
        make_demo(net, args.demo)


if __name__ == "__main__":
    main()
