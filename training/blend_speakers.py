r"""Make speakers between (and beyond) two speakers: blend the spectra of aligned takes of a digit.

Formant and pitch changes of one speaker (``training.pseudo_speakers``) keep how he pronounces a
digit. Here take A of one speaker is aligned with take B of another (dynamic time warping of their
cepstra), and A's log-spectral envelope moves a part of the way towards B's, or away from it; pitch
and rhythm stay A's. A voice is one weight, pitch and pace for all its takes. Writes
``OUT/blend-A-B.npz``, like ``training.pseudo_speakers``, with no voice as recorded.

    python -m training.blend_speakers --takes recordings --takes build/takes --out build/digits \
        --partners espeak-en-us-m3 espeak-en-gb-f4
"""

from __future__ import annotations

import argparse
import random
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numba
import numpy as np
import pyworld
from numpy.typing import NDArray
from tqdm import tqdm

from training.pseudo_speakers import RATE, SPEAKERS, analyse

Floats = NDArray[np.float64]
Take = tuple[Floats, Floats, Floats, Floats]
_CEPSTRA = 13
_BANDS = 40


@numba.njit(cache=True)
def warp_path(cost: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for each row the column that dynamic time warping pairs with it.

    Args:
        cost: distances [rows, columns]; the path runs from corner to corner in steps
            (1, 1), (1, 0) and (0, 1).

    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    for i in range(rows):
        for j in range(columns):
            best = min(total[i, j], total[i, j + 1], total[i + 1, j])
            total[i + 1, j + 1] = cost[i, j] + best
    path = np.zeros(rows, np.int64)
    i, j = rows, columns
    while i > 0:
        path[i - 1] = j - 1
        diagonal, up, left = total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]
        if diagonal <= up and diagonal <= left:
            i, j = i - 1, j - 1
        elif up <= left:
            i = i - 1
        else:
            j = j - 1
    return path


def cepstra(envelope: Floats) -> NDArray[np.float32]:
    """Return low cepstra [frames, 13] of WORLD's envelope [frames, bins]; no energy term."""
    bins = envelope.shape[1]
    hertz = np.linspace(0, RATE / 2, bins)
    mel = 1127 * np.log1p(hertz / 700)
    band = np.minimum((mel / mel[hertz <= 4000][-1] * _BANDS).astype(int), _BANDS)
    log = np.log(envelope + 1e-12)
    bands = np.stack([log[:, band == b].mean(1) for b in range(_BANDS) if (band == b).any()], 1)
    grid = np.arange(bands.shape[1])
    basis = np.cos(np.pi / len(grid) * (grid[:, None] + 0.5) * np.arange(1, _CEPSTRA + 1))
    values = bands @ basis
    return np.asarray((values - values.mean(0)) / (values.std(0) + 1e-3), np.float32)


def blend(
    a: Take, b: Take, *, weight: float, pitch_factor: float, formant_factor: float, pace: float
) -> Floats:
    """Return take A with its envelope moved by ``weight`` towards take B's (0: A, 1: B)."""
    _, pitch, envelope, aperiodicity = a
    x, y = cepstra(envelope), cepstra(b[2])
    path = warp_path(np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1)))
    mine, other = np.log(envelope + 1e-12), np.log(b[2][path] + 1e-12)
    bins = mine.shape[1]
    band = slice(0, bins // 2)  # FSDD ends at 4 kHz: nothing above is to be blended
    # Loudness over time stays A's: only the shape of the spectrum moves.
    other += mine[:, band].mean(1, keepdims=True) - other[:, band].mean(1, keepdims=True)
    mixed = mine.copy()
    mixed[:, band] += weight * (other[:, band] - mine[:, band])
    source = np.minimum(np.arange(bins) / formant_factor, bins - 1)
    low = source.astype(int)
    share, high = source - low, np.minimum(low + 1, bins - 1)
    mixed = mixed[:, low] * (1 - share) + mixed[:, high] * share
    nearest = np.round(np.linspace(0, len(pitch) - 1, max(4, round(len(pitch) * pace)))).astype(int)
    return np.asarray(
        pyworld.synthesize(
            np.ascontiguousarray(pitch[nearest] * pitch_factor),
            np.ascontiguousarray(np.exp(mixed[nearest])),
            np.ascontiguousarray(aperiodicity[nearest]),
            RATE,
        )
    )


def read_takes(folders: list[Path], speaker: str, limit: int) -> list[tuple[int, Take]]:
    """Return (digit, analysed take) of a speaker, at most ``limit`` of each digit."""
    found = []
    for digit in range(10):
        paths = [p for f in folders for p in sorted(f.glob(f"{digit}_{speaker}_*.wav"))]
        random.Random(f"{speaker}{digit}").shuffle(paths)
        found += [(digit, analyse(p)) for p in paths[:limit]]
    return found


def make_blends(
    anchor: str, folders: list[Path], partners: list[str], out: Path, voices: int, takes: int
) -> str:
    """Write the blends of one speaker with each partner; return a line for the log."""
    rng = random.Random(f"blend-{anchor}")
    own = read_takes(folders, anchor, 25)
    seconds = 0.0
    for partner in partners:
        other = read_takes(folders, partner, 8)
        audio: list[NDArray[np.int16]] = []
        labels: list[int] = []
        owners: list[int] = []
        for voice in range(voices):
            weight = rng.uniform(-0.5, 1.0)
            pitch = float(np.exp(rng.uniform(np.log(0.75), np.log(1.7))))
            formant, pace = rng.uniform(0.9, 1.14), rng.uniform(0.8, 1.25)
            for digit in range(10):
                mine = [t for d, t in own if d == digit]
                theirs = [t for d, t in other if d == digit]
                if not theirs:  # some of the people of Debian's packages do not say all
                    continue
                for _ in range(takes):
                    wave = blend(
                        rng.choice(mine),
                        rng.choice(theirs),
                        weight=weight + rng.uniform(-0.1, 0.1),
                        pitch_factor=pitch * rng.uniform(0.93, 1.07),
                        formant_factor=formant * rng.uniform(0.98, 1.02),
                        pace=pace * rng.uniform(0.9, 1.1),
                    )
                    peak = float(np.abs(wave).max())
                    scale = 0.7 / max(peak, 1e-4)
                    audio.append((wave * scale * 32767).astype(np.int16))
                    labels.append(digit)
                    owners.append(voice)
        np.savez(
            out / f"blend-{anchor}-{partner}.npz",
            audio=np.concatenate(audio),
            ends=np.cumsum([a.size for a in audio]),
            digits=np.array(labels),
            voices=np.array(owners),
        )
        seconds += sum(a.size for a in audio) / RATE
    return f"{anchor}: {len(partners)} partners, {seconds / 60:.0f} min"


def main() -> None:
    """Blend every FSDD speaker with the others and with the partners given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--takes", type=Path, action="append", required=True, help="WAV folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the .npz files")
    parser.add_argument("--partners", nargs="*", default=[], help="further SPEAKER in the names")
    parser.add_argument("--voices", type=int, default=4, help="blended voices of each pair")
    parser.add_argument("--per-digit", type=int, default=6, help="takes of each voice and digit")
    parser.add_argument("--processes", type=int, default=2, help="speakers made at once")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with Pool(args.processes) as pool:
        jobs = [
            pool.apply_async(
                partial(
                    make_blends,
                    anchor,
                    args.takes,
                    [s for s in SPEAKERS if s != anchor] + args.partners,
                    args.out,
                    args.voices,
                    args.per_digit,
                )
            )
            for anchor in SPEAKERS
        ]
        for job in tqdm(jobs):
            tqdm.write(job.get())


if __name__ == "__main__":
    main()
