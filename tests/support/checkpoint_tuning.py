"""Random weights whose output layers are set so that blanks and tokens of many kinds take turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from nemo.collections.asr.models import EncDecCTCModelBPE

from tests.support import sounds

_EMISSIONS_PER_FRAME = 0.3
"""Tokens per encoder frame of 80 ms the output layers are set to: 4 a second, as in speech."""
_PROMPT_WEIGHT = 8.0


@torch.inference_mode()
def tune(model: Any) -> int:
    """Set the output layers so that varied tokens come at about _EMISSIONS_PER_FRAME.

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
        if sum(len(emitted(part)) for part in encoded) > _EMISSIONS_PER_FRAME * n_frames:
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
