"""The architecture and the tokenizer of ``siren-mini-en``, and an untrained model of it.

The model is NeMo's ``EncDecHybridRNNTCTCBPEModel`` with a cache-aware FastConformer encoder, so
NeMo can restore, transcribe and stream it without any of this code.

    python -m training.model --work build --out build/untrained.nemo
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from training import texts

#: [left, right] attention context in encoder frames of 80 ms; a chunk is right + 1 frames.
LOOK_AHEADS = [[70, 13], [70, 6], [70, 1]]
LOOK_AHEAD_PROBS = [0.2, 0.4, 0.4]
VOCABULARY = 160


def train_tokenizer(work: Path, *, vocabulary: int = VOCABULARY, lines: int = 60000) -> Path:
    """Train a sentencepiece BPE tokenizer on texts of the grammar; return its folder."""
    import sentencepiece

    folder = work / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(1)
    corpus = (
        texts.digit_string(rng) if rng.random() < 0.25 else texts.sentence(rng)[1]
        for _ in range(lines)
    )
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus,
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=vocabulary,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    # NeMo's tokenizer folder: the BERT-like vocabulary that its loader asks for beside the model.
    (folder / "vocab.txt").write_text(
        "\n".join(p[1:] if p.startswith("▁") else "##" + p for p in pieces[1:]) + "\n"
    )
    return folder


def config(
    tokenizer: Path, *, width: int = 144, layers: int = 6, heads: int = 4, channels: int = 64
) -> DictConfig:
    """Return the NeMo configuration; widths in units, one joint and prediction width for all."""
    hidden = 160
    cfg: dict[str, Any] = {
        "sample_rate": 16000,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "model_defaults": {"enc_hidden": width, "pred_hidden": hidden, "joint_hidden": hidden},
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "normalize": "NA",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": 80,
            "n_fft": 512,
            "log": True,
            "frame_splicing": 1,
            "dither": 0.00001,
            "pad_to": 0,
        },
        "spec_augment": {
            "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
            "freq_masks": 2,
            "time_masks": 2,
            "freq_width": 15,
            "time_width": 0.04,
            "mask_value": -12.0,  # about the mean of log-mels that are not normalised
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 80,
            "feat_out": -1,
            "n_layers": layers,
            "d_model": width,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": channels,
            "causal_downsampling": True,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": heads,
            "att_context_size": LOOK_AHEADS,
            "att_context_probs": LOOK_AHEAD_PROBS,
            "att_context_style": "chunked_limited",
            "xscaling": False,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "layer_norm",
            "conv_context_size": "causal",
            "dropout": 0.1,
            "dropout_pre_encoder": 0.1,
            "dropout_emb": 0.0,
            "dropout_att": 0.1,
            "stochastic_depth_drop_prob": 0.0,
        },
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {
                "pred_hidden": hidden,
                "pred_rnn_layers": 1,
                "t_max": None,
                "dropout": 0.2,
            },
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "jointnet": {"joint_hidden": hidden, "activation": "relu", "dropout": 0.1},
        },
        "decoding": {
            "strategy": "greedy_batch",
            "greedy": {"max_symbols": 10, "use_cuda_graph_decoder": False},
        },
        "aux_ctc": {
            "ctc_loss_weight": 0.3,
            "use_cer": False,
            "ctc_reduction": "mean_batch",
            "decoder": {
                "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
                "feat_in": None,
                "num_classes": -1,
                "vocabulary": [],
            },
            "decoding": {"strategy": "greedy_batch"},
        },
        "loss": {
            "loss_name": "default",
            "warprnnt_numba_kwargs": {"fastemit_lambda": 0.0, "clamp": -1.0},
        },
        "optim": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-3},
    }
    return OmegaConf.create(cfg)


def build(tokenizer: Path, **sizes: int) -> Any:
    """Return an untrained EncDecHybridRNNTCTCBPEModel."""
    from nemo.collections.asr.models import EncDecHybridRNNTCTCBPEModel
    from nemo.utils import logging

    logging.setLevel(logging.ERROR)
    return EncDecHybridRNNTCTCBPEModel(cfg=config(tokenizer, **sizes))


def main() -> None:
    """Train the tokenizer if there is none, and save an untrained model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the tokenizer")
    parser.add_argument("--out", type=Path, required=True, help="the .nemo file to write")
    args = parser.parse_args()
    tokenizer = args.work / "tokenizer"
    if not (tokenizer / "tokenizer.model").exists():
        tokenizer = train_tokenizer(args.work)
    model = build(tokenizer)
    count = sum(p.numel() for p in model.parameters())
    partial = args.out.with_suffix(".partial.nemo")
    model.save_to(str(partial))
    partial.replace(args.out)
    print(f"{args.out}: {count / 1e6:.2f} M parameters, {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
