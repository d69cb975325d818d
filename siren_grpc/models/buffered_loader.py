"""From an offline checkpoint to a backend that streams it through a sliding window."""

from __future__ import annotations

from typing import Any

from nemo.collections.asr.models import ASRModel
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder

from siren_grpc.domain.geometry import BufferedContext, BufferedSeconds, FeatureGeometry
from siren_grpc.domain.model import ModelInfo, Precision
from siren_grpc.models.buffered_backend import BufferedBackend, BufferedParts
from siren_grpc.models.buffered_window import AudioWindows
from siren_grpc.models.calibrate import sizes_up_to
from siren_grpc.models.checkpoint import (
    UnsupportedModel,
    decoder_kinds_of,
    decoders_of,
    feature_geometry_of,
    max_symbols_of,
    slot_phrases_of,
)
from siren_grpc.models.coarse import coarsen
from siren_grpc.models.languages import languages_of
from siren_grpc.models.prompts import prompts_of
from siren_grpc.models.readings import readings_of
from siren_grpc.models.shared_settings import Offer, OnUnmet, Wanted, choose
from siren_grpc.models.vocabulary import end_tokens, language_tags, token_texts

DEFAULT_CONTEXT = BufferedSeconds(10.0, 2.0, 2.0)
"""What NVIDIA streams its offline models with: close to their accuracy, 4 s of latency."""
_PRESETS = (
    DEFAULT_CONTEXT,
    BufferedSeconds(5.0, 0.5, 0.5),
    BufferedSeconds(2.0, 0.25, 0.25),
)
_FAMILY = "buffered-fastconformer"
_STYLES = ("regular", "chunked_limited_with_rc")
"""Of attention. The second masks chunks in training; restored, it is full attention in NeMo too."""


def is_buffered(model: ASRModel) -> bool:
    """Tell whether a model needs the sound on both sides: an offline one, not cache-aware."""
    encoder = getattr(model, "encoder", None)
    return isinstance(encoder, ConformerEncoder) and encoder.att_context_style in _STYLES


def buffered_backend_of(
    model: ASRModel,
    name: str,
    *,
    n_slots: int,
    max_batch: int,
    wanted: Wanted,
    precision: Precision,
    default: BufferedSeconds,
    on_unmet: OnUnmet,
) -> BufferedBackend:
    """Make a backend of a restored offline model, not warmed up yet.

    wanted: its `chunk_frames` are the window of streams that name none, None for `default`, the
    one offered beside the presets (and instead of one with the same chunk). The rest as for
    `loader.load`. Raises UnsupportedModel for a model whose windows cannot be cut, and what
    on_unmet raises.
    """
    _require_whole_frames(model, name)
    model.preprocessor.featurizer.dither = 0.0  # training noise; recognition is to be repeatable
    geometry = feature_geometry_of(model)
    contexts, default_frames = _contexts(default, geometry, name)
    offer = Offer(
        name,
        tuple(contexts),
        default_frames,
        decoder_kinds_of(model, name, preferred=None),
        is_buffered=True,
    )
    chosen = choose(wanted, offer, on_unmet)
    try:
        coarsen(model.encoder, precision)
    except ValueError as error:
        raise UnsupportedModel(f"{name}: {error}") from error
    slots = n_slots + 1  # one spare, for the padding rows of a batch
    phrases = slot_phrases_of(model, slots)
    decoders = decoders_of(model, name, first=chosen.decoder, n_slots=slots, phrases=phrases)
    prompts = prompts_of(model, name, n_slots=slots)
    info = ModelInfo(
        id=name,
        family=_FAMILY,
        language_codes=languages_of(model, name) if prompts is None else prompts.codes,
        features=geometry,
        look_aheads=tuple(contexts),
        default_chunk_frames=chosen.chunk_frames,
        decoders=tuple(decoders),
        biasing_decoders=tuple(decoders),
        token_texts=token_texts(model),
        end_tokens=end_tokens(model),
        language_tags=language_tags(model),
        punctuation=frozenset(getattr(model.decoding, "supported_punctuation", None) or ()),
        buffered=tuple(contexts.values()),
    )
    windows = AudioWindows(
        n_slots=slots,
        max_frames=max(context.total_frames for context in contexts.values()),
        frame_samples=geometry.encoder_frame_samples,
        device=next(model.parameters()).device,
    )
    readings = readings_of(model, decoders, n_slots=slots, max_symbols=max_symbols_of(model))
    parts = BufferedParts(info, model, windows, decoders, phrases, readings, prompts)
    return BufferedBackend(parts, n_slots=n_slots, batch_sizes=sizes_up_to(max_batch))


def _contexts(
    default: BufferedSeconds, geometry: FeatureGeometry, name: str
) -> tuple[dict[int, BufferedContext], int]:
    """Return the windows offered, by chunk_frames in ascending order, and the default's."""
    try:
        windows = [seconds.in_frames(geometry) for seconds in (*_PRESETS, default)]
    except ValueError as error:
        raise UnsupportedModel(f"{name}: {error}") from error
    by_chunk = {window.chunk_frames: window for window in windows}
    return dict(sorted(by_chunk.items())), windows[-1].chunk_frames


def _require_whole_frames(model: Any, name: str) -> None:
    """Raise UnsupportedModel unless windows of n encoder frames of audio have just n frames."""
    encoder, featurizer = model.encoder, model.preprocessor.featurizer
    why = None
    if getattr(model.cfg.encoder, "causal_downsampling", False):
        why = "a causal subsampling, but an attention that is not"
    elif encoder.reduction_position is not None:
        why = "a second subsampling between its layers"
    elif featurizer.exact_pad or featurizer.frame_splicing != 1:
        why = "features with exact_pad or frame splicing"
    if why is not None:
        raise UnsupportedModel(f"{name} has {why}, which this server does not stream")
