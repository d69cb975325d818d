"""Measure what coarser products cost: word error rates at each precision.

The test sets of ``training.synthesise`` go through the server's own engine (streamed, CTC and
RNN-T at ``chunk_frames`` 7), not through NeMo.

    python -m training.precision --work build
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from siren_grpc.bench.engine_adapter import SyncEngine, lane_of, load_model, quiet_nemo
from siren_grpc.domain.model import Precision
from siren_grpc.domain.results import Final
from training.evaluate import TestSet, synthetic, telephone, wer

SETS = ("digits-espeak", "digits-ked", "sentences-espeak")


def recognise(engine: SyncEngine, test: TestSet) -> list[str]:
    """Return the text of each recording, streamed one after the other."""
    stream = engine.open()
    texts = []
    for wave in tqdm(test.waves, leave=False):
        pcm = (np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes()
        engine.receive(stream, pcm)
        engine.finalize(stream)
        texts += [result.text for _, result in engine.run() if isinstance(result, Final)]
    return texts


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="has tts/")
    parser.add_argument("--model", default="siren-mini-en", help="as for siren serve")
    args = parser.parse_args()
    quiet_nemo()
    sets = {name: synthetic(args.work / "tts" / f"test-{name}.npz") for name in SETS}
    sets["digits-espeak, 8 kHz mu-law"] = telephone(sets["digits-espeak"])
    columns = [precision.value for precision in Precision]
    print("| test set | decoder | " + " | ".join(columns) + " |")
    print("| --- | --- | " + " | ".join("---:" for _ in columns) + " |")
    loaded = {
        precision: load_model(args.model, device="cpu", threads=1, precision=precision)
        for precision in Precision
    }
    for name, test in sets.items():
        for decoder in ("ctc", "rnnt"):
            rates = []
            for model in loaded.values():
                backend = model.backend(1)
                engine = SyncEngine(backend, lane_of(backend.info, 7, decoder))
                rates.append(wer(test.references, recognise(engine, test)))
            print(f"| {name} | {decoder} | " + " | ".join(f"{r:.1f}" for r in rates) + " |")


if __name__ == "__main__":
    main()
