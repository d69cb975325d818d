r"""Collect the digits of real people that Debian's packages happen to hold, as takes.

Ten more people than FSDD's, most with one take of each digit: a telephone exchange's prompts, a
talking clock, games, a painting program for children. Kajongg's four voices name the tiles of mah
jong ("bamboo one", "circle nine"): of those the last word is cut out (:func:`cut_last_word`), which
takes a model that hears digits already. Writes ``OUT/DIGIT_people-NAME_TAKE.wav`` at 16 kHz without
the silence around the word.

    apt-get install asterisk-core-sounds-en-wav saytime csmash-data scid-data \
        tuxpaint-stamps-default kajongg
    python -m training.people --work build --model build/run3/last.pt --out build/people
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from tqdm import tqdm

from training.augment import RATE, Wave
from training.evaluate import load
from training.texts import DIGITS

#: Where each person's recordings are; {digit} is the figure, {word} the English word.
PEOPLE = {
    "allison": ["usr/share/asterisk/sounds/en_US_f_Allison/digits/{digit}.wav"],
    "clock": ["usr/share/saytime/{digit}.au"],
    "umpire": ["usr/share/games/csmash/wav/{word}.wav"],
    "chess": ["usr/share/scid/sounds/{digit}.wav"],
    "paint-us": ["usr/share/tuxpaint/stamps/symbols/math/{digit}.ogg"],
    "paint-gb": ["usr/share/tuxpaint/stamps/symbols/math/{digit}_en_GB.ogg"],
}
#: Those of whose recordings the digit is the last word.
PLAYERS = {
    f"tiles-{voice}": [f"usr/share/kajongg/voices/{voice}/{tile}{{digit}}.ogg" for tile in "bcs"]
    for voice in ("female1", "female2", "male1", "male2")
}
_HOP = RATE // 50


def read(path: Path) -> Wave:
    """Return a recording at 16 kHz, its peak at 0.5, without silence before and behind."""
    audio, rate = soundfile.read(path)
    if audio.ndim > 1:
        audio = audio.mean(1)
    wave = np.asarray(soxr.resample(audio, rate, RATE), np.float32)
    wave *= np.float32(0.5) / max(float(np.abs(wave).max()), 1e-6)
    loud = np.flatnonzero(loudness(wave) > 1e-3 * loudness(wave).max())
    margin = RATE // 100
    return wave[max(0, loud[0] - margin) : loud[-1] + margin]


def loudness(wave: Wave) -> Wave:
    """Return the mean power of the 25 ms around each sample."""
    window = np.full(RATE // 40, 40 / RATE, np.float32)
    return np.convolve(wave * wave, window, "same").astype(np.float32)


def cut_last_word(net: Any, wave: Wave, digit: int) -> Wave | None:
    """Return the last word of a recording, which is a digit; None if it is not heard.

    Every start between 0.9 and 0.2 s before the end is tried, and the CTC score of the digit alone
    is taken. Starts that score as well as the best one form a range: earlier ones let in the word
    before, later ones cut into the digit. The quietest place in the range's earlier half wins.
    """
    first = max(0, len(wave) - int(0.9 * RATE))
    starts = np.arange(first, len(wave) - int(0.2 * RATE), _HOP)
    scores = digit_scores(net, [wave[start:] for start in starts])
    if int(scores.max(0).argmax()) != digit:
        return None
    near = starts[scores[:, digit] > scores[:, digit].max() - 1]
    near = near[: max(1, (len(near) + 1) // 2)]
    power = loudness(wave)
    return wave[near[np.argmin(power[near])] :]


@torch.no_grad()
def digit_scores(net: Any, waves: list[Wave]) -> np.ndarray:
    """Return CTC log-likelihoods [n, 10] of each wave's being one digit and nothing else."""
    padded = [np.pad(wave, (RATE // 5, RATE // 2)) for wave in waves]
    lengths = torch.tensor([len(wave) for wave in padded])
    audio = torch.zeros(len(padded), int(lengths.max()))
    for row, wave in zip(audio, padded, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    features, frames = net.preprocessor(input_signal=audio, length=lengths)
    encoded, frames = net.encoder(audio_signal=features, length=frames)
    log_probs = net.ctc_decoder(encoder_output=encoded).float().transpose(0, 1)
    blank = log_probs.shape[-1] - 1
    columns = []
    for word in DIGITS:
        target = torch.tensor(net.tokenizer.text_to_ids(word))
        counts = torch.full((len(padded),), len(target))
        targets = target.repeat(len(padded), 1)
        loss = torch.nn.functional.ctc_loss(
            log_probs, targets, frames.long(), counts, blank, "none", zero_infinity=True
        )
        columns.append(-loss)
    return torch.stack(columns, 1).numpy()


def main() -> None:
    """Write all takes, and tell what is missing or was not understood."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the packages lie")
    parser.add_argument(
        "--model", type=Path, required=True, help="checkpoint or .nemo that hears digits"
    )
    parser.add_argument("--work", type=Path, required=True, help="has tokenizer/")
    parser.add_argument("--out", type=Path, required=True, help="folder for the takes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    net = load(args.model, args.work).eval()
    for name, patterns in tqdm((PEOPLE | PLAYERS).items()):
        count = 0
        for digit, word in enumerate(DIGITS):
            for take, pattern in enumerate(patterns):
                path = args.root / pattern.format(digit=digit, word=word)
                if not path.exists():
                    continue
                wave = read(path)
                cut = cut_last_word(net, wave, digit) if name in PLAYERS else wave
                if cut is None:
                    tqdm.write(f"{path}: {word} is not heard")
                    continue
                soundfile.write(args.out / f"{digit}_people-{name}_{take}.wav", cut, RATE)
                count += 1
        tqdm.write(f"{name}: {count} takes")


if __name__ == "__main__":
    main()
