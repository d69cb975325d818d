"""Configurations of NeMo's models as the published checkpoints have them, with small widths.

Where the figures come from is in `checkpoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Published widths: d_model 1024 or 512, 256 subsampling channels, 640 for predictor and joint.
_D_MODEL = 64
_N_LAYERS = 2
_CHANNELS = 16
_PREDICTOR = 96


def common(
    *,
    features: int,
    contexts: Sequence[Sequence[int]],
    use_bias: bool,
    xscaling: bool,
    style: str = "chunked_limited",
) -> dict[str, Any]:
    """Return what every cache-aware or offline (style "regular") FastConformer has.

    features: mel bins. contexts: [left, right] of attention, the default first.
    """
    is_streaming = style == "chunked_limited"
    return {
        "sample_rate": 16000,
        "compute_eval_loss": False,
        "log_prediction": False,
        "skip_nan_grad": False,
        "model_defaults": {
            "enc_hidden": _D_MODEL,
            "pred_hidden": _PREDICTOR,
            "joint_hidden": _PREDICTOR,
        },
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "normalize": "NA" if is_streaming else "per_feature",
            "window_size": 0.025,
            "window_stride": 0.01,
            "window": "hann",
            "features": features,
            "n_fft": 512,
            "frame_splicing": 1,
            "dither": 0.00001,
            "pad_to": 0,
        },
        "spec_augment": {
            "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
            "freq_masks": 2,
            "time_masks": 10,
            "freq_width": 27,
            "time_width": 0.05,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": features,
            "feat_out": -1,
            "n_layers": _N_LAYERS,
            "d_model": _D_MODEL,
            "use_bias": use_bias,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "subsampling_conv_channels": _CHANNELS,
            "causal_downsampling": is_streaming,
            "ff_expansion_factor": 4,
            "self_attention_model": "rel_pos",
            "n_heads": 8,
            "att_context_size": [list(context) for context in contexts],
            "att_context_style": style,
            "xscaling": xscaling,
            "untie_biases": True,
            "pos_emb_max_len": 5000,
            "conv_kernel_size": 9,
            "conv_norm_type": "layer_norm" if is_streaming else "batch_norm",
            "conv_context_size": "causal" if is_streaming else None,
            "dropout": 0.1,
            "dropout_pre_encoder": 0.1,
            "dropout_emb": 0.0,
            "dropout_att": 0.1,
        },
        "optim": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-3},
    }


def offline(*, features: int) -> dict[str, Any]:
    """Return what a FastConformer with full attention has."""
    full = [[-1, -1]]
    return common(features=features, contexts=full, use_bias=False, xscaling=False, style="regular")


def transducer(*, layers: int) -> dict[str, Any]:
    """Return predictor, joint and decoding of an RNNT. layers: of its LSTM."""
    return {
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder",
            "normalization_mode": None,
            "random_state_sampling": False,
            "blank_as_pad": True,
            "prednet": {
                "pred_hidden": _PREDICTOR,
                "pred_rnn_layers": layers,
                "t_max": None,
                "dropout": 0.2,
            },
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint",
            "log_softmax": None,
            "preserve_memory": False,
            "fuse_loss_wer": False,
            "jointnet": {"joint_hidden": _PREDICTOR, "activation": "relu", "dropout": 0.2},
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}},
        "loss": {
            "loss_name": "default",
            "warprnnt_numba_kwargs": {"fastemit_lambda": 5e-3, "clamp": -1.0},
        },
    }


def tdt_parts(common: dict[str, Any]) -> dict[str, Any]:
    """Return those of a TDT, for a model with the common part given."""
    durations = [0, 1, 2, 3, 4]
    config = transducer(layers=2)
    config["model_defaults"] = common["model_defaults"]
    config["model_defaults"]["tdt_durations"] = durations
    config["decoding"] |= {"model_type": "tdt", "durations": durations}
    config["joint"]["num_extra_outputs"] = len(durations)
    config["loss"] = {
        "loss_name": "tdt",
        "tdt_kwargs": {"durations": durations, "sigma": 0.02, "omega": 0.1},
    }
    return config


def ctc_head() -> dict[str, Any]:
    """Return the decoder of a CTC model."""
    return {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
        "feat_in": None,
        "num_classes": -1,
        "vocabulary": [],
    }


def auxiliary_ctc() -> dict[str, Any]:
    """Return the second head of a hybrid model."""
    return {
        "aux_ctc": {
            "ctc_loss_weight": 0.3,
            "use_cer": False,
            "ctc_reduction": "mean_batch",
            "decoder": ctc_head(),
            "decoding": {"strategy": "greedy"},
        }
    }


def prompts(languages: dict[str, int]) -> dict[str, Any]:
    """Return the prompt of the language. languages: index of each code."""
    return {
        "initialize_prompt_feature": True,
        "num_prompts": 128,
        "prompt_dictionary": languages,
    }
