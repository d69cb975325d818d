"""What a restored checkpoint is made of: its decoders and feature geometry."""

from __future__ import annotations

from typing import Any

from nemo.collections.asr.models import (
    EncDecCTCModel,
    EncDecHybridRNNTCTCModel,
    EncDecRNNTModel,
)
from nemo.collections.asr.parts.submodules.transducer_decoding.rnnt_label_looping import (
    GreedyBatchedRNNTLabelLoopingComputer,
)
from nemo.collections.asr.parts.submodules.transducer_decoding.tdt_label_looping import (
    GreedyBatchedTDTLabelLoopingComputer,
)

from siren_grpc.domain.geometry import FeatureGeometry
from siren_grpc.domain.model import DecoderKind
from siren_grpc.models.biasing import SlotPhrases
from siren_grpc.models.ctc_phrases import CtcPhrases
from siren_grpc.models.decoders import (
    CtcSlotDecoder,
    SlotDecoder,
    TransducerSlotDecoder,
)
from siren_grpc.models.spelling import Speller
from siren_grpc.models.transducer_phrases import TransducerPhrases
from siren_grpc.models.vocabulary import token_texts

_MAX_SYMBOLS_PER_FRAME = 10


class UnsupportedModel(Exception):
    """A checkpoint that cannot be streamed, or not as asked; the message says why."""


def feature_geometry_of(model: Any) -> FeatureGeometry:
    """Return how a model cuts audio into feature and encoder frames."""
    featurizer = model.preprocessor.featurizer
    return FeatureGeometry(
        sample_rate_hertz=int(model.cfg.preprocessor.sample_rate),
        hop_samples=int(featurizer.hop_length),
        window_samples=int(featurizer.win_length),
        subsampling=int(model.encoder.subsampling_factor),
    )


def slot_phrases_of(model: Any, n_slots: int) -> SlotPhrases:
    """Return what makes a model's decoders prefer phrases. n_slots: as for `decoders_of`."""
    device = next(model.parameters()).device
    vocabulary_size = len(token_texts(model))
    return SlotPhrases(Speller(model), vocabulary_size, n_slots=n_slots, device=device)


def decoder_kinds_of(
    model: Any, name: str, *, preferred: DecoderKind | None
) -> tuple[DecoderKind, ...]:
    """Return which decoders a model has, the default first: its own, unless it has the preferred.

    Raises UnsupportedModel for a model without decoders Siren knows.
    """
    kinds = []
    if isinstance(model, EncDecRNNTModel):
        kinds.append(DecoderKind.TDT if _has_extra_outputs(model) else DecoderKind.RNNT)
    if isinstance(model, (EncDecHybridRNNTCTCModel, EncDecCTCModel)):
        kinds.append(DecoderKind.CTC)
    if not kinds:
        raise UnsupportedModel(f"{name} ({type(model).__name__}) has no RNNT, TDT or CTC decoder")
    return tuple(sorted(kinds, key=lambda kind: kind is not preferred))


def decoders_of(
    model: Any,
    name: str,
    *,
    first: DecoderKind,
    n_slots: int,
    phrases: SlotPhrases | None = None,
) -> dict[DecoderKind, SlotDecoder]:
    """Make a model's decoders, the default first.

    first: the kind to be the default, one of `decoder_kinds_of`. n_slots: rows of their state.
    phrases: those of its slots, None for decoders that take none.
    Raises UnsupportedModel for a transducer Siren does not know.
    """
    decoders: dict[DecoderKind, SlotDecoder] = {}
    if isinstance(model, EncDecRNNTModel):
        kind, computer = _transducer(model, name)
        preferring = None
        if phrases is not None:
            preferring = TransducerPhrases(_transducer(model, name)[1], phrases)
        d_model = model.encoder.d_model
        decoders[kind] = TransducerSlotDecoder(computer, d_model, n_slots, preferring)
    if isinstance(model, EncDecHybridRNNTCTCModel):
        decoders[DecoderKind.CTC] = _ctc(model.ctc_decoder, n_slots, phrases)
    elif isinstance(model, EncDecCTCModel):
        decoders[DecoderKind.CTC] = _ctc(model.decoder, n_slots, phrases)
    return {kind: decoders[kind] for kind in sorted(decoders, key=lambda kind: kind is not first)}


def _transducer(
    model: Any, name: str
) -> tuple[
    DecoderKind, GreedyBatchedRNNTLabelLoopingComputer | GreedyBatchedTDTLabelLoopingComputer
]:
    parts = {
        "decoder": model.decoder,
        "joint": model.joint,
        "blank_index": model.decoder.blank_idx,
        "max_symbols_per_step": max_symbols_of(model),
        "allow_cuda_graphs": True,
    }
    if not _has_extra_outputs(model):
        return DecoderKind.RNNT, GreedyBatchedRNNTLabelLoopingComputer(**parts)
    durations = getattr(model.decoding, "durations", None)
    if not durations:
        raise UnsupportedModel(
            f"{name} has a transducer with outputs that are neither tokens nor durations, which "
            "this server does not stream"
        )
    return DecoderKind.TDT, GreedyBatchedTDTLabelLoopingComputer(**parts, durations=durations)


def _has_extra_outputs(model: Any) -> bool:
    """Whether a transducer tells more than tokens: durations, in all that are known."""
    return bool(getattr(model.joint, "num_extra_outputs", 0))


def _ctc(head: Any, n_slots: int, phrases: SlotPhrases | None) -> CtcSlotDecoder:
    preferring = None if phrases is None else CtcPhrases(phrases)
    return CtcSlotDecoder(head, head.num_classes_with_blank - 1, n_slots, preferring)


def max_symbols_of(model: Any) -> int:
    """Return the most tokens per encoder frame: the checkpoint's own setting, as NeMo uses it."""
    greedy = model.cfg.decoding.get("greedy", None) or {}
    # Older checkpoints have the setting's former name.
    wanted = greedy.get("max_symbols", None) or greedy.get("max_symbols_per_step", None)
    return int(wanted) if wanted else _MAX_SYMBOLS_PER_FRAME
