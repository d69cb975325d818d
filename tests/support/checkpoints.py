"""Small checkpoints of the published architectures, with random weights.

The classes and configuration keys are those of the models people use; only the number of layers
and the widths are smaller. Where the figures come from:

* `nemotron`: nvidia/nemotron-speech-streaming-en-0.6b. 24 layers of 1024, 8 heads, 128 mel bins,
  kernel 9, two LSTM layers of 640, joint of 640, 1024 pieces, look-aheads 13/6/1/0: its model card
  on huggingface.co, and its `model_config.yaml` and 653 tensors as listed in
  github.com/m1el/nemotron-asr.cpp, docs/STREAMING.md and docs/TENSOR_SHAPES.md. (26 tensors a layer
  and none a bias of a linear or convolution: `use_bias: false`.)
* `hybrid`: nvidia/stt_en_fastconformer_hybrid_large_streaming_multi, 17 layers of 512, 80 mel bins,
  one LSTM layer of 640, the same look-aheads; and
* `ctc`: its CTC sibling. Both after NeMo's training configurations,
  examples/asr/conf/fastconformer/{hybrid_,}cache_aware_streaming/*_bpe_streaming.yaml.
* `prompted`: nvidia/nemotron-3.5-asr-streaming-0.6b, `nemotron` with another left context, a prompt
  of the language behind the encoder (128 of them, 2048 hidden units) and tags of languages among
  its 13087 pieces: its model card on huggingface.co, NeMo's rnnt_bpe_models_prompt.py, and its
  `model_config.yaml` as those print it who ported it to other runtimes.
* `prompted_hybrid` and, offline, `prompted_parakeet`: after NeMo's configurations
  fastconformer/hybrid_{cache_aware_streaming,transducer_ctc}/*_bpe_prompt.yaml.
* `parakeet_rnnt`, `parakeet_tdt`, `parakeet_ctc`, `parakeet_hybrid`: nvidia/parakeet-{rnnt,tdt,ctc}
  of 0.6 and 1.1 B (24 and 42 layers of 1024, 80 or 128 mel bins, two LSTM layers of 640, 1024 or,
  for v3, 8192 pieces, durations 0 to 4) and parakeet-tdt_ctc-110m: the offline FastConformer of
  examples/asr/conf/fastconformer/fast-conformer_{transducer,ctc}_bpe.yaml and of
  .../hybrid_transducer_ctc/*.yaml, with full attention and features normalised over a recording.

Random weights recognise nothing, so the output layers are scaled and shifted until blanks and
tokens of many kinds take turns: a comparison of two empty transcripts would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from nemo.collections.asr.models import (
    ASRModel,
    EncDecCTCModelBPE,
    EncDecHybridRNNTCTCBPEModel,
    EncDecRNNTBPEModel,
)
from nemo.collections.asr.models.hybrid_rnnt_ctc_bpe_models_prompt import (
    EncDecHybridRNNTCTCBPEModelWithPrompt,
)
from nemo.collections.asr.models.rnnt_bpe_models_prompt import EncDecRNNTBPEModelWithPrompt
from omegaconf import OmegaConf

from tests.support import sounds

LOOK_AHEADS = ([70, 13], [70, 6], [70, 1], [70, 0])
"""[left, right] attention contexts both published models offer; the first is their default."""
PROMPTED_LOOK_AHEADS = ([56, 3], [56, 0], [56, 6], [56, 13])
LANGUAGES = {"en-US": 0, "en": 0, "en-GB": 1, "enGB": 1, "es-ES": 2, "es-US": 3, "es": 3}
LANGUAGES |= {"de-DE": 9, "mt-MT": 102, "auto": 101}
"""Some of the published prompt dictionary, its spellings included."""
EMISSIONS_PER_FRAME = 0.3
"""Tokens per encoder frame of 80 ms the output layers are set to: 4 a second, as in speech."""

_CORPUS = """
Hello, how are you today? I am fine, thank you. What is the time now? It is a quarter past nine.
One two three four five six seven eight nine ten. Please call me back tomorrow morning, will you?
The quick brown fox jumps over the lazy dog. Where did you leave the keys, and who has seen them?
She sells sea shells by the sea shore. Turn off the lights in the kitchen. Play some music, please.
My number is four one five, two double six, nine zero. Let us meet on Monday at half past three.
The weather is nice. Could you repeat that? Yes, of course. No, not really. Thanks a lot.
""".strip().splitlines()


def build_nemotron(
    path: Path, *, contexts: Sequence[Sequence[int]] = LOOK_AHEADS, tune: bool = True
) -> Path:
    """Write a small nvidia/nemotron-speech-streaming-en-0.6b to path.

    Its tokenizer has capitals, punctuation and byte tokens for whatever else. tune: False saves
    seconds where nothing is to be recognised.
    """
    config = _common(features=128, contexts=contexts, use_bias=False, xscaling=False)
    config |= _transducer(layers=2)
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=True)
    return _save(EncDecRNNTBPEModel, config, path, tune=tune)


def build_hybrid(path: Path, *, contexts: Sequence[Sequence[int]] = LOOK_AHEADS) -> Path:
    """Write a small nvidia/stt_en_fastconformer_hybrid_large_streaming_multi to path."""
    config = _common(features=80, contexts=contexts, use_bias=True, xscaling=True)
    config |= _transducer(layers=1)
    config |= _auxiliary_ctc()
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecHybridRNNTCTCBPEModel, config, path)


def build_ctc(path: Path, *, style: str = "chunked_limited") -> Path:
    """Write a small cache-aware FastConformer-CTC to path; style "regular" makes it an offline one.

    NeMo's configuration names one look-ahead; here it has two.
    """
    contexts = LOOK_AHEADS[1:3] if style == "chunked_limited" else [[-1, -1]]
    config = _common(features=80, contexts=contexts, use_bias=True, xscaling=True, style=style)
    config["decoder"] = _ctc_head()
    config["decoding"] = {"strategy": "greedy"}
    config["ctc_reduction"] = "mean_batch"
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecCTCModelBPE, config, path)


def build_tdt(path: Path) -> Path:
    """Write a small token-and-duration transducer with a streaming encoder to path."""
    config = _common(features=128, contexts=LOOK_AHEADS, use_bias=False, xscaling=False)
    config |= _tdt_parts(config)
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecRNNTBPEModel, config, path)


def build_parakeet_rnnt(path: Path) -> Path:
    """Write a small nvidia/parakeet-rnnt-1.1b to path."""
    config = _offline(features=80)
    config |= _transducer(layers=2)
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecRNNTBPEModel, config, path, seeds=_OFFLINE_SEEDS)


def build_parakeet_tdt(path: Path) -> Path:
    """Write a small nvidia/parakeet-tdt-0.6b-v2 to path."""
    config = _offline(features=128)
    config |= _tdt_parts(config)
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=True)
    return _save(EncDecRNNTBPEModel, config, path, seeds=_OFFLINE_SEEDS)


def build_parakeet_ctc(path: Path) -> Path:
    """Write a small nvidia/parakeet-ctc-1.1b to path."""
    config = _offline(features=80)
    config["decoder"] = _ctc_head()
    config["decoding"] = {"strategy": "greedy"}
    config["ctc_reduction"] = "mean_batch"
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecCTCModelBPE, config, path, seeds=_OFFLINE_SEEDS)


def build_parakeet_hybrid(path: Path, *, tune: bool = True) -> Path:
    """Write a small nvidia/parakeet-tdt_ctc-110m to path."""
    config = _offline(features=80)
    config |= _tdt_parts(config) | _auxiliary_ctc()
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecHybridRNNTCTCBPEModel, config, path, tune=tune)


def build_prompted(path: Path) -> Path:
    """Write a small nvidia/nemotron-3.5-asr-streaming-0.6b to path."""
    config = _common(features=128, contexts=PROMPTED_LOOK_AHEADS, use_bias=False, xscaling=False)
    config |= _transducer(layers=2)
    config["model_defaults"] |= _prompts(LANGUAGES)
    folder = path.parent / f"{path.stem}-tokenizer"
    tags = [f"<{code}>" for code in LANGUAGES if "-" in code]
    config["tokenizer"] = _tokenizer(folder, has_bytes=True, tags=tags)
    return _save(EncDecRNNTBPEModelWithPrompt, config, path, seeds=3)


def build_prompted_hybrid(path: Path) -> Path:
    """Write a small hybrid streaming model with prompts, without `auto`, to path."""
    config = _common(features=80, contexts=LOOK_AHEADS[1:3], use_bias=True, xscaling=True)
    return _save_prompted_hybrid(config, path)


def build_prompted_parakeet(path: Path) -> Path:
    """Write a small offline hybrid model with prompts to path."""
    return _save_prompted_hybrid(_offline(features=80), path)


def _save_prompted_hybrid(config: dict[str, Any], path: Path) -> Path:
    config |= _transducer(layers=1) | _auxiliary_ctc()
    config["model_defaults"] |= _prompts({"en_US": 0, "de_DE": 3})
    config["tokenizer"] = _tokenizer(path.parent / f"{path.stem}-tokenizer", has_bytes=False)
    return _save(EncDecHybridRNNTCTCBPEModelWithPrompt, config, path)


def _prompts(languages: dict[str, int]) -> dict[str, Any]:
    return {
        "initialize_prompt_feature": True,
        "num_prompts": 128,
        "prompt_dictionary": languages,
    }


def _offline(*, features: int) -> dict[str, Any]:
    full = [[-1, -1]]
    return _common(
        features=features, contexts=full, use_bias=False, xscaling=False, style="regular"
    )


def _auxiliary_ctc() -> dict[str, Any]:
    return {
        "aux_ctc": {
            "ctc_loss_weight": 0.3,
            "use_cer": False,
            "ctc_reduction": "mean_batch",
            "decoder": _ctc_head(),
            "decoding": {"strategy": "greedy"},
        }
    }


def _tdt_parts(common: dict[str, Any]) -> dict[str, Any]:
    durations = [0, 1, 2, 3, 4]
    config = _transducer(layers=2)
    config["model_defaults"] = common["model_defaults"]
    config["model_defaults"]["tdt_durations"] = durations
    config["decoding"] |= {"model_type": "tdt", "durations": durations}
    config["joint"]["num_extra_outputs"] = len(durations)
    config["loss"] = {
        "loss_name": "tdt",
        "tdt_kwargs": {"durations": durations, "sigma": 0.02, "omega": 0.1},
    }
    return config


# Published widths: d_model 1024 or 512, 256 subsampling channels, 640 for predictor and joint.
_D_MODEL = 64
_N_LAYERS = 2
_CHANNELS = 16
_PREDICTOR = 96
_PROMPT_WEIGHT = 8.0
_SEEDS = 6
_OFFLINE_SEEDS = 3


def _common(
    *,
    features: int,
    contexts: Sequence[Sequence[int]],
    use_bias: bool,
    xscaling: bool,
    style: str = "chunked_limited",
) -> dict[str, Any]:
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


def _transducer(*, layers: int) -> dict[str, Any]:
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


def _ctc_head() -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
        "feat_in": None,
        "num_classes": -1,
        "vocabulary": [],
    }


def _tokenizer(folder: Path, *, has_bytes: bool, tags: Sequence[str] = ()) -> dict[str, Any]:
    """Train a sentencepiece tokenizer as NeMo's scripts lay one out; published: 1024 pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = _CORPUS if has_bytes else [_without_punctuation(line) for line in _CORPUS]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=256 + 144 if has_bytes else 96,
        byte_fallback=has_bytes,
        character_coverage=1.0,
        bos_id=-1,
        eos_id=-1,
        user_defined_symbols=list(tags),
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    pieces = [model.id_to_piece(i) for i in range(1, model.get_piece_size())]
    words = [p[1:] if p.startswith("\u2581") else f"##{p}" for p in pieces]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return {"dir": str(folder), "type": "bpe"}


def _without_punctuation(line: str) -> str:
    return "".join(c for c in line.lower() if c.isalpha() or c == " ")


def _save(
    kind: type[ASRModel],
    config: dict[str, Any],
    path: Path,
    *,
    tune: bool = True,
    seeds: int = _SEEDS,
) -> Path:
    best, most_kinds = None, -1
    with torch.random.fork_rng(devices=[]):
        for seed in range(seeds if tune else 1):
            torch.manual_seed(seed)
            model = kind(cfg=OmegaConf.create(config))
            model.eval()
            kinds = _tune(model) if tune else 0
            if kinds > most_kinds:
                best, most_kinds = model, kinds
    if best is None:
        raise AssertionError("no seed was tried")
    best.save_to(str(path))
    return path


@torch.inference_mode()
def _tune(model: Any) -> int:
    """Set the output layers so that varied tokens come at about EMISSIONS_PER_FRAME.

    Returns how many kinds come at least; some random predictors repeat one token for ever.
    """
    model.preprocessor.featurizer.dither = 0.0
    languages = _strengthen_prompts(model)
    encoded = []
    for wave in (sounds.babble(64_000, seed=101), sounds.telephone(64_000, seed=102)):
        features, lengths = model.preprocessor(
            input_signal=torch.from_numpy(wave)[None], length=torch.tensor([len(wave)])
        )
        first, *_, last = model.encoder.att_context_size_all * 2
        for context in {tuple(last): last, tuple(first): first}.values():
            model.encoder.set_default_att_context_size(context)
            heard = model.encoder(audio_signal=features, length=lengths)[0]
            for language in languages:
                model.set_inference_prompt(language)
                encoded.append(model._apply_prompt_to_encoded(heard))
            if not languages:
                encoded.append(heard)
    if isinstance(model, EncDecCTCModelBPE):
        return _tune_ctc(model.decoder, encoded)
    kinds = _tune_transducer(model, encoded)
    if hasattr(model, "ctc_decoder"):
        kinds = min(kinds, _tune_ctc(model.ctc_decoder, encoded))
    return kinds


def _strengthen_prompts(model: Any) -> list[str]:
    """Make a language weigh as much as the sound, and return the languages of a model."""
    if not getattr(model, "concat", False):
        return []
    model.prompt_kernel[0].weight[:, -model.num_prompts :].mul_(_PROMPT_WEIGHT)
    first, *_, last = model.cfg.model_defaults.prompt_dictionary
    return [first, last]


def _tune_ctc(head: Any, encoded: list[torch.Tensor]) -> int:
    layer = head.decoder_layers[0]  # a convolution of kernel 1
    blank = layer.bias.shape[0] - 1
    _standardise(layer, layer(torch.cat(encoded, dim=2)).transpose(1, 2), spread=4.0)

    def emitted(part: torch.Tensor) -> list[int]:
        labels = head(encoder_output=part).argmax(-1)[0].tolist()
        before = [blank, *labels[:-1]]
        return [a for a, b in zip(labels, before, strict=True) if blank != a != b]

    return _set_blank(layer, blank, encoded, emitted)


def _tune_transducer(model: Any, encoded: list[torch.Tensor]) -> int:
    joint, layer = model.joint, model.joint.joint_net[-1]
    for name, weight in model.decoder.prediction.dec_rnn.named_parameters():
        if "weight" in name:
            weight.mul_(5.0)  # untrained, the predictor hardly tells one history from another
    blank = model.decoder.blank_idx  # behind it stand the durations of a TDT
    labels = torch.randint(0, blank, (1, 256))
    predicted, _, _ = model.decoder(targets=labels, target_length=torch.tensor([256]))
    frames, tokens = torch.cat(encoded, dim=2).transpose(1, 2), predicted.transpose(1, 2)
    # Sound and tokens so far must weigh alike, else state lost between chunks would not show.
    _whiten(joint.enc, frames)
    _whiten(joint.pred, tokens)
    _standardise(joint.enc, joint.enc(frames), spread=1.0)
    _standardise(joint.pred, joint.pred(tokens), spread=1.0)
    hidden = joint.enc(frames)[:, :, None] + joint.pred(tokens)[:, None]
    _standardise(layer, joint.joint_net(hidden), spread=4.0)

    def emitted(part: torch.Tensor) -> list[int]:
        [decoded] = model.decoding.rnnt_decoder_predictions_tensor(
            encoder_output=part,
            encoded_lengths=torch.tensor([part.shape[2]]),
            return_hypotheses=True,
        )
        return [int(token) for token in decoded.y_sequence]

    return _set_blank(layer, blank, encoded, emitted)


def _set_blank(
    layer: Any,
    blank: int,
    encoded: list[torch.Tensor],
    emitted: Callable[[torch.Tensor], list[int]],
) -> int:
    n_frames = sum(part.shape[2] for part in encoded)
    low, high = 0.0, 40.0
    for _ in range(10):
        layer.bias[blank] = (low + high) / 2
        if sum(len(emitted(part)) for part in encoded) > EMISSIONS_PER_FRAME * n_frames:
            low = float(layer.bias[blank])
        else:
            high = float(layer.bias[blank])
    layer.bias[blank] = high
    return min(len(set(emitted(part))) for part in encoded)


def _whiten(layer: Any, inputs: torch.Tensor) -> None:
    """Make a layer treat all directions of its inputs [1, n, n_inputs] alike.

    Else the few frames that are unlike all others, such as the first, would speak all the time.
    """
    values, directions = torch.linalg.eigh(torch.cov(inputs[0].T))
    gains = (values.clamp(min=0) + 1e-3 * values.max()).rsqrt()
    layer.weight.copy_(layer.weight @ (directions * gains) @ directions.T)


def _standardise(layer: Any, outputs: torch.Tensor, *, spread: float) -> None:
    """Give each of a layer's outputs [..., n_outputs] a mean of 0 and a deviation of spread."""
    flat = outputs.flatten(0, -2)
    scale = spread / flat.std(dim=0)
    mean = flat.mean(dim=0)
    layer.weight.mul_(scale.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    layer.bias.copy_((layer.bias - mean) * scale)
