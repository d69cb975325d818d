"""Take the digits of Asterisk's English prompts as one more person's takes.

Allison Smith's recordings (CC BY-SA 3.0) come with Debian's ``asterisk-core-sounds-en-wav``. Writes
``OUT/DIGIT_allison_0.wav`` at 16 kHz without the silence around the word.

    python -m training.prompts --out build/takes
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
SOUNDS = Path("/usr/share/asterisk/sounds/en_US_f_Allison/digits")


def main() -> None:
    """Write ten takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sounds", type=Path, default=SOUNDS, help="folder with 0.wav to 9.wav")
    parser.add_argument("--out", type=Path, required=True, help="folder for the takes")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for digit in range(10):
        audio, rate = soundfile.read(args.sounds / f"{digit}.wav")
        loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
        margin = rate // 100
        word = audio[max(0, loud[0] - margin) : loud[-1] + margin]
        soundfile.write(args.out / f"{digit}_allison_0.wav", soxr.resample(word, rate, RATE), RATE)


if __name__ == "__main__":
    main()
