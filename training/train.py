"""Train ``siren-mini-en`` on the CPU: CTC + RNN-T, a wall-clock budget, averaged weights.

The learning rate follows a cosine over ``--minutes`` of wall-clock time, so a run ends when it was
told to whatever else the machine does. Look-aheads are drawn per step, as NeMo does. Every
``--save-minutes`` the averaged weights (EMA) are written to ``OUT/last.pt``, beside the state that
``--resume`` continues; ``training.evaluate --quick`` measures such a checkpoint from outside.

    python -m training.train --work build --out build/run1 --leave-out yweweler --minutes 60
    python -m training.train --work build --out build/run2 --resume build/run1/last.pt --minutes 15

One thread for each of two processes (``torchrun --nproc-per-node 2 -m training.train ...``), whose
gradients are averaged, is much faster than two threads as soon as anything else wants the cores.
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from training import model, texts
from training.augment import RATE, Spans, UtteranceSource
from training.pseudo_speakers import SPEAKERS
from training.rnnt_loss import rnnt_loss

Batch = tuple[Tensor, Tensor, list[str], list[Spans]]


class Batches(IterableDataset[Batch]):
    """Endless batches of about ``seconds`` of padded audio, utterances of like length together."""

    def __init__(self, *, seconds: float, seed: int, **source: Any) -> None:
        """Keep the arguments; the source is built in the worker process."""
        self._seconds, self._seed, self._source = seconds, seed, source

    def __iter__(self) -> Iterator[Batch]:
        """Draw, sort, cut and shuffle."""
        worker = torch.utils.data.get_worker_info()
        seed = self._seed * 100 + (worker.id if worker else 0)
        source = UtteranceSource(seed=seed, **self._source)
        rng = random.Random(seed)
        torch.set_num_threads(1)
        while True:
            drawn = sorted((source.draw() for _ in range(160)), key=lambda item: len(item[0]))
            batches: list[list[tuple[np.ndarray, str, Spans]]] = [[]]
            for item in drawn:
                if (len(batches[-1]) + 1) * len(item[0]) > self._seconds * 16000:
                    batches.append([])
                batches[-1].append(item)
            rng.shuffle(batches)
            for batch in batches:
                if batch:
                    lengths = torch.tensor([len(item[0]) for item in batch])
                    audio = torch.zeros(len(batch), int(lengths.max()))
                    for row, (wave, _, _) in zip(audio, batch, strict=True):
                        row[: len(wave)] = torch.from_numpy(wave)
                    yield audio, lengths, [item[1] for item in batch], [item[2] for item in batch]


def alignment_loss(log_probs: Tensor, spans: list[Spans], token_of_digit: list[int]) -> Tensor:
    """Return the cross entropy of the CTC output against the known places of joined takes.

    Only the start of training uses it: CTC alone stays at "all blank" for many minutes.
    """
    rows = [i for i, line in enumerate(spans) if line]
    if not rows:
        return log_probs.sum() * 0
    count, blank = log_probs.shape[1], log_probs.shape[2] - 1
    labels = torch.full((len(rows), count), blank)
    for row, i in zip(labels, rows, strict=True):
        for start, end, digit in spans[i]:
            first = round((start + 0.35 * (end - start)) / 1280)
            row[first : max(first + 1, round((end + 320) / 1280))] = token_of_digit[digit]
    weight = torch.ones(blank + 1)
    weight[blank] = 0.3
    flat = log_probs[rows].flatten(0, 1)
    return torch.nn.functional.nll_loss(flat, labels.flatten(), weight)


def warp_vocal_tracts(features: Tensor, *, widest: float) -> Tensor:
    """Stretch each utterance's frequency axis by a factor of its own, as other people would.

    Vocal tract length perturbation (Jaitly and Hinton, 2013) on log-mels [n, n_mels, n_frames]:
    the factor is drawn from [1 - widest, 1 + widest]; bins past the top repeat the last one.
    """
    count, bins, _ = features.shape
    top = float(hertz_to_mel(torch.tensor(RATE / 2)))
    hertz = mel_to_hertz(torch.linspace(0, top, bins))
    factors = 1 + widest * (2 * torch.rand(count, 1) - 1)
    source = (hertz_to_mel(hertz[None] * factors) / top * (bins - 1)).clamp(0, bins - 1)
    low = source.floor().long()
    high = (low + 1).clamp(max=bins - 1)
    weight = (source - low)[..., None]
    rows = torch.arange(count)[:, None]
    return features[rows, low] * (1 - weight) + features[rows, high] * weight


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """Return mels on Slaney's scale, which NeMo's filter bank uses: linear up to 1 kHz."""
    return torch.where(hertz < 1000, hertz * 0.015, 15 + 14.545 * (hertz.clamp(min=1) / 1000).log())


def mel_to_hertz(mel: Tensor) -> Tensor:
    """Return hertz of Slaney's mels."""
    return torch.where(mel < 15, mel / 0.015, 1000 * ((mel - 15) / 14.545).exp())


def losses(
    net: Any, batch: Batch, *, rnnt: bool, alignment: bool = False, warp: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean CTC and RNN-T losses per token of one batch, and the alignment loss."""
    audio, lengths, words, spans = batch
    with torch.no_grad():
        features, feature_lengths = net.preprocessor(input_signal=audio, length=lengths)
        if warp:
            features = warp_vocal_tracts(features, widest=warp)
        features = net.spec_augmentation(input_spec=features, length=feature_lengths)
    encoded, frames = net.encoder(audio_signal=features, length=feature_lengths)
    ids = [net.tokenizer.text_to_ids(w) for w in words]
    labels = torch.tensor([len(i) for i in ids])
    targets = torch.zeros(len(ids), max(1, int(labels.max())), dtype=torch.int64)
    for row, line in zip(targets, ids, strict=True):
        row[: len(line)] = torch.tensor(line, dtype=torch.int64)
    frames = frames.long()
    log_probs = net.ctc_decoder(encoder_output=encoded).float()
    blank = log_probs.shape[-1] - 1
    ctc = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), targets, frames, labels, blank, "none", zero_infinity=True
    )
    total = labels.sum().clamp(min=1)
    aligned = torch.zeros(())
    if alignment:
        tokens = [net.tokenizer.text_to_ids(d)[0] for d in texts.DIGITS]
        aligned = alignment_loss(log_probs, spans, tokens)
    if not rnnt:
        return ctc.sum() / total, torch.zeros(()), aligned
    predicted, _, _ = net.decoder(targets=targets, target_length=labels)
    joint = net.joint
    hidden = (
        joint.project_encoder(encoded.transpose(1, 2))[:, :, None]
        + joint.project_prednet(predicted.transpose(1, 2))[:, None]
    )
    logits = joint.joint_net(hidden)
    transducer = rnnt_loss(logits, targets, frames, labels).sum() / total
    return ctc.sum() / total, transducer, aligned


def centre_features(net: Any, *, mean: float = -12.0, deviation: float = 3.6) -> None:
    """Start the first convolution as if log-mels were normalised: they are not (``NA``).

    The subsampling's convolutions start with He's variance: PyTorch's default shrinks the signal.
    """
    convolutions = [m for m in net.encoder.pre_encode.modules() if isinstance(m, torch.nn.Conv2d)]
    for convolution in convolutions:
        torch.nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        torch.nn.init.zeros_(convolution.bias)
    first = convolutions[0]
    with torch.no_grad():
        first.weight /= deviation
        first.bias -= mean * first.weight.sum((1, 2, 3))


def pick_look_ahead(net: Any, rng: random.Random) -> None:
    """Draw the attention context of the next step."""
    chosen = rng.choices(model.LOOK_AHEADS, model.LOOK_AHEAD_PROBS)[0]
    net.encoder.set_default_att_context_size(chosen)


def shared_value(value: float, world: int) -> float:
    """Return rank 0's value in every process, so that all take the same decisions."""
    if world == 1:
        return value
    tensor = torch.tensor([value], dtype=torch.float64)
    torch.distributed.broadcast(tensor, 0)
    return float(tensor)


def average_gradients(net: Any, world: int) -> None:
    """Average the gradients of all processes in place."""
    if world == 1:
        return
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= world
    for gradient, piece in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(piece.view_as(gradient))


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="has tokenizer/, digits/, tts/")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints and log")
    parser.add_argument("--minutes", type=float, required=True, help="wall-clock budget")
    parser.add_argument("--leave-out", choices=SPEAKERS, help="FSDD speaker kept for measuring")
    parser.add_argument("--resume", type=Path, help="checkpoint to continue from")
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--final-lr", type=float, default=0.03, help="last rate, share of --lr")
    parser.add_argument("--warmup", type=int, default=300, help="steps to the peak rate")
    parser.add_argument(
        "--seconds", type=float, default=120, help="padded audio per step and process"
    )
    parser.add_argument("--digit-share", type=float, default=0.4, help="share of joined FSDD takes")
    parser.add_argument(
        "--easy-draws", type=int, default=10000, help="utterances until none is made easy"
    )
    parser.add_argument("--dropout", type=float, default=0.1, help="dropout of the encoder")
    parser.add_argument(
        "--warp", type=float, default=0.0, help="widest stretch of the frequency axis, such as 0.12"
    )
    parser.add_argument("--rnnt-from", type=int, default=400, help="first step with RNN-T loss")
    parser.add_argument("--align-until", type=int, default=600, help="last step told of places")
    parser.add_argument("--ema", type=float, default=0.998, help="decay of the averaged weights")
    parser.add_argument("--save-minutes", type=float, default=5, help="between checkpoints")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, per process")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 autocast in the encoder")
    parser.add_argument("--seed", type=int, default=1, help="of data and weights")
    parser.add_argument("--steps", type=int, help="stop after so many steps, to time them")
    return parser.parse_args()


def main() -> None:
    """Train until the time is over."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world > 1:
        torch.distributed.init_process_group("gloo")
    net = model.build(args.work / "tokenizer")
    for module in net.encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = args.dropout
    centre_features(net)
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=1e-2
    )
    step = 0
    average = copy.deepcopy(net.state_dict())
    if args.resume:
        saved = torch.load(args.resume, weights_only=True)
        net.load_state_dict(saved["raw"])
        optimizer.load_state_dict(saved["optimizer"])
        average, step = saved["average"], saved["step"]
    folder = args.work / "digits"
    digits = [p for p in sorted(folder.glob("*.npz")) if args.leave_out not in p.stem.split("-")]
    source = {
        "digits": digits,
        "tts": sorted((args.work / "tts").glob("train-*[0-9].npz")),
        "digit_share": args.digit_share,
        "easy_draws": 0 if args.resume else args.easy_draws,
    }
    loader = DataLoader(
        Batches(seconds=args.seconds, seed=args.seed + step + 1000 * rank, **source),
        batch_size=None,
        num_workers=1,
        prefetch_factor=24,
    )
    rng = random.Random(args.seed + step)  # the same look-ahead in all processes
    began = saved_at = time.monotonic()
    first_step, progress = step, tqdm(unit="step", mininterval=20, disable=rank > 0)
    meters = np.zeros(4)
    net.train()
    for batch in loader:
        share = shared_value((time.monotonic() - began) / 60 / args.minutes, world)
        done = share >= 1 or (args.steps is not None and step - first_step >= args.steps)
        if rank == 0 and (done or time.monotonic() - saved_at > args.save_minutes * 60):
            saved_at = time.monotonic()
            state = {"raw": net.state_dict(), "average": average, "step": step}
            torch.save(state | {"optimizer": optimizer.state_dict()}, args.out / "partial.pt")
            (args.out / "partial.pt").replace(args.out / "last.pt")
            ctc, rnnt, audio, steps = meters
            line = (
                f"{time.strftime('%H:%M')} step {step} ctc {ctc / max(steps, 1):.3f} "
                f"rnnt {rnnt / max(steps, 1):.3f} hours {audio / 3600:.2f}"
            )
            tqdm.write(line)
            with (args.out / "log.txt").open("a") as log:
                log.write(line + "\n")
            meters[:] = 0
        if done:
            break
        cosine = 0.5 * (1 + math.cos(math.pi * min(share, 1)))
        warm = min(1.0, (step - first_step + 1) / args.warmup)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * warm * (args.final_lr + (1 - args.final_lr) * cosine)
        pick_look_ahead(net, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            ctc, rnnt, aligned = losses(
                net,
                batch,
                rnnt=step >= args.rnnt_from,
                alignment=step < args.align_until,
                warp=args.warp,
            )
            # All-blank is where CTC goes first: it may not lead before digits are told apart.
            early = step < args.rnnt_from
            late = step >= 4 * args.rnnt_from
            loss = (0.1 if early else 0.4 if late else 1.0) * ctc + rnnt + (1 + early) * aligned
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(net, world)
        norm = torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if torch.isfinite(norm):
            optimizer.step()
        step += 1
        decay = min(args.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, value in net.state_dict().items():
                if value.dtype.is_floating_point:
                    average[name].lerp_(value, 1 - decay)
        meters += [float(ctc.detach()), float(rnnt.detach()), batch[0].numel() / 16000, 1]
        progress.update()
        progress.set_postfix(
            ctc=float(ctc.detach()), rnnt=float(rnnt.detach()), aligned=float(aligned.detach())
        )


if __name__ == "__main__":
    main()
