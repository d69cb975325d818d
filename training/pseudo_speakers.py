r"""Turn the few speakers of FSDD into many: WORLD re-synthesis with another pitch and vocal tract.

The Free Spoken Digit Dataset (FSDD) has ``DIGIT_SPEAKER_TAKE.wav`` at 8 kHz. Every pseudo speaker
draws one change of pitch (x0.7..1.9), formants (x0.82..1.22) and pace (x0.75..1.3), applied to the
takes of one real speaker, with a little jitter for each take. Besides the pseudo speakers, each
real speaker is kept as recorded and at four speeds. Writes ``OUT/SPEAKER.npz``: ``audio`` (int16,
end to end, 16 kHz), ``ends``, ``digits`` and ``voices`` (index of the pseudo speaker of a take).

    python -m training.pseudo_speakers --fsdd recordings --out build/digits --voices 24
    python -m training.pseudo_speakers --fsdd build/takes --out build/digits --voices 20 \
        --speakers flite-awb flite-rms flite-slt flite-kal16
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pyworld
import soundfile
import soxr
from numpy.typing import NDArray
from tqdm import tqdm

RATE = 16000
SPEAKERS = ["george", "jackson", "nicolas", "yweweler"]
Floats = NDArray[np.float64]


def analyse(path: Path) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the take at 16 kHz and its WORLD pitch, envelope and aperiodicity."""
    audio, rate = soundfile.read(path)
    audio = soxr.resample(audio, rate, RATE)
    pitch, times = pyworld.dio(audio, RATE)
    pitch = pyworld.stonemask(audio, pitch, times, RATE)
    envelope = pyworld.cheaptrick(audio, pitch, times, RATE)
    return audio, pitch, envelope, pyworld.d4c(audio, pitch, times, RATE)


def convert(
    take: tuple[Floats, Floats, Floats, Floats],
    *,
    pitch_factor: float,
    formant_factor: float,
    pace: float,
    tilt: float,
) -> Floats:
    """Re-synthesise a take as somebody else's; tilt in dB at 4 kHz."""
    _, pitch, envelope, aperiodicity = take
    count, bins = envelope.shape
    grid = np.arange(bins)
    source = np.minimum(grid / formant_factor, bins - 1)
    low = source.astype(int)
    high, weight = np.minimum(low + 1, bins - 1), source - low
    log_envelope = np.log(envelope + 1e-12)
    log_envelope = log_envelope[:, low] * (1 - weight) + log_envelope[:, high] * weight
    log_envelope += tilt * np.log(10) / 10 * (grid * RATE / 2 / (bins - 1) / 4000)
    frames = np.linspace(0, count - 1, max(4, round(count * pace)))
    nearest = np.round(frames).astype(int)
    new_pitch = np.ascontiguousarray(pitch[nearest] * pitch_factor)
    new_envelope = np.ascontiguousarray(np.exp(log_envelope[nearest]))
    new_aperiodicity = np.ascontiguousarray(aperiodicity[nearest])
    return np.asarray(pyworld.synthesize(new_pitch, new_envelope, new_aperiodicity, RATE))


def make_speaker(speaker: str, fsdd: Path, out: Path, voices: int, takes: int) -> str:
    """Write all voices made of one speaker; return a line for the log."""
    rng = random.Random(speaker)
    paths = sorted(fsdd.glob(f"*_{speaker}_*.wav"))
    digits = [int(p.name[0]) for p in paths]
    analysed = [analyse(p) for p in paths]
    audio: list[NDArray[np.int16]] = []
    labels: list[int] = []
    owners: list[int] = []

    def add(wave: Floats, digit: int, voice: int) -> None:
        peak = float(np.abs(wave).max())
        scale = 0.9 / peak if peak > 0.9 else 1.0
        audio.append((wave * scale * 32767).astype(np.int16))
        labels.append(digit)
        owners.append(voice)

    for voice, speed in enumerate([1.0, 0.85, 0.92, 1.09, 1.18]):
        for take, digit in zip(analysed, digits, strict=True):
            wave = take[0]
            add(soxr.resample(wave, RATE, RATE / speed) if speed != 1 else wave, digit, voice)
    for voice in range(5, 5 + voices):
        pitch = float(np.exp(rng.uniform(np.log(0.7), np.log(1.9))))
        # Pitch and vocal tract go together in people, loosely.
        formant = 0.82 + 0.4 * min(max((pitch - 0.7) / 1.2 * 0.6 + rng.uniform(-0.15, 0.55), 0), 1)
        pace, tilt = rng.uniform(0.75, 1.3), rng.uniform(-5, 5)
        for i in rng.sample(range(len(paths)), min(takes, len(paths))):
            wave = convert(
                analysed[i],
                pitch_factor=pitch * rng.uniform(0.93, 1.07),
                formant_factor=formant * rng.uniform(0.97, 1.03),
                pace=pace * rng.uniform(0.9, 1.1),
                tilt=tilt + rng.uniform(-1, 1),
            )
            add(wave, digits[i], voice)
    np.savez(
        out / f"{speaker}.npz",
        audio=np.concatenate(audio),
        ends=np.cumsum([a.size for a in audio]),
        digits=np.array(labels),
        voices=np.array(owners),
    )
    seconds = sum(a.size for a in audio) / RATE
    return f"{speaker}: {len(audio)} takes, {voices + 5} voices, {seconds / 60:.0f} min"


def main() -> None:
    """Make the pseudo speakers of all FSDD speakers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fsdd", type=Path, required=True, help="folder of FSDD's recordings")
    parser.add_argument("--out", type=Path, required=True, help="folder for the .npz files")
    parser.add_argument("--voices", type=int, default=24, help="pseudo speakers per speaker")
    parser.add_argument("--takes", type=int, default=300, help="takes of each pseudo speaker")
    parser.add_argument("--speakers", nargs="+", default=SPEAKERS, help="SPEAKER in the names")
    parser.add_argument("--processes", type=int, default=2, help="speakers made at once")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    make = partial(make_speaker, fsdd=args.fsdd, out=args.out, voices=args.voices, takes=args.takes)
    with Pool(args.processes) as pool:
        for line in tqdm(pool.imap_unordered(make, args.speakers), total=len(args.speakers)):
            tqdm.write(line)


if __name__ == "__main__":
    main()
