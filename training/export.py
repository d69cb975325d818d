"""Write the averaged weights of a checkpoint as a ``.nemo`` file and prove that the file works.

The proof restores the file with NeMo alone, transcribes a recording offline, and streams it with
``cache_aware_stream_step`` at every look-ahead: the encoder's output must equal the offline one.

    python -m training.export --work build --checkpoint build/run2/last.pt --out model.nemo
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from omegaconf import open_dict

from training import model


def write(work: Path, checkpoint: Path, out: Path) -> None:
    """Write ``out`` in one move."""
    net = model.build(work / "tokenizer")
    net.load_state_dict(torch.load(checkpoint, weights_only=True)["average"])
    net.eval()
    with open_dict(net.cfg):
        net.cfg.tokenizer.dir = "tokenizer"  # no path of the machine that trained it
    partial = out.with_name(f".{out.name}.partial")
    net.save_to(str(partial))
    partial.replace(out)


def stream(net: Any, audio: np.ndarray, look_ahead: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the encoder's (offline, streamed) outputs, [1, width, frames]."""
    net.encoder.set_default_att_context_size(look_ahead)
    net.encoder.setup_streaming_params(att_context_size=look_ahead)
    cfg = net.encoder.streaming_cfg
    with torch.inference_mode():
        signal, length = torch.from_numpy(audio)[None], torch.tensor([len(audio)])
        features, feature_length = net.preprocessor(input_signal=signal, length=length)
        count = int(feature_length)
        offline, frames = net.encoder(audio_signal=features, length=feature_length)
        offline = offline[..., : int(frames)]
        cache = net.encoder.get_initial_cache_state(batch_size=1)
        at, pieces = 0, []
        while at < count:
            first = at == 0
            size, past = cfg.chunk_size[not first], 0 if first else cfg.pre_encode_cache_size[1]
            chunk = features[:, :, max(0, at - past) : min(at + size, count)]
            if not first and at < past:
                chunk = torch.nn.functional.pad(chunk, (past - at, 0))
            output = net.encoder.cache_aware_stream_step(
                processed_signal=chunk,
                processed_signal_length=torch.tensor([chunk.shape[-1]]),
                cache_last_channel=cache[0],
                cache_last_time=cache[1],
                cache_last_channel_len=cache[2],
                keep_all_outputs=at + size >= count,
                drop_extra_pre_encoded=0 if first else cfg.drop_extra_pre_encoded,
            )
            pieces.append(output[0])
            cache = output[2:]
            at += cfg.shift_size[not first]
    return offline, torch.cat(pieces, -1)


def prove(path: Path, recording: Path | None) -> None:
    """Restore, transcribe and stream; raise AssertionError if the streams differ."""
    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel

    net = EncDecHybridRNNTCTCBPEModel.restore_from(str(path), map_location="cpu")
    net.eval()
    audio = np.random.default_rng(0).standard_normal(16000 * 5).astype(np.float32) * 0.1
    if recording:
        audio, rate = soundfile.read(recording, dtype="float32")
        if rate != 16000:
            raise SystemExit(f"{recording} is not at 16 kHz")
        print("transcribe:", net.transcribe([audio], batch_size=1, verbose=False)[0].text)
        net.eval()  # NeMo's transcribe leaves the model in training mode
    for look_ahead in model.LOOK_AHEADS:
        offline, streamed = stream(net, audio, look_ahead)
        worst = float((offline[..., : streamed.shape[-1]] - streamed).abs().max())
        print(f"{look_ahead}: {streamed.shape[-1]} frames, largest difference {worst:.1e}")
        assert offline.shape == streamed.shape, (offline.shape, streamed.shape)
        assert worst < 1e-3, worst


def main() -> None:
    """Export and prove."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder that has tokenizer/")
    parser.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    parser.add_argument("--out", type=Path, required=True, help="the .nemo file to write")
    parser.add_argument("--recording", type=Path, help="16 kHz WAV to transcribe as a check")
    args = parser.parse_args()
    torch.set_num_threads(1)
    write(args.work, args.checkpoint, args.out)
    prove(args.out, args.recording)
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {size:.1f} MB")


if __name__ == "__main__":
    main()
