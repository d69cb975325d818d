"""From a model's name to its streaming parts."""

from __future__ import annotations

import logging
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from nemo.collections.asr.models import (
    ASRModel,
    EncDecCTCModel,
    EncDecHybridRNNTCTCModel,
    EncDecRNNTModel,
)
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder
from nemo.collections.asr.parts.mixins import streaming
from nemo.collections.asr.parts.submodules.transducer_decoding.rnnt_label_looping import (
    GreedyBatchedRNNTLabelLoopingComputer,
)
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
from nemo.utils.tar_utils import is_safe_tar_member

from siren_grpc.domain.geometry import FeatureGeometry
from siren_grpc.domain.types import DecoderKind, EncoderCache, ModelInfo
from siren_grpc.models.conformer import why_unsupported
from siren_grpc.models.decoders import CtcSlotDecoder, RnntSlotDecoder, SlotDecoder
from siren_grpc.models.encoder import InputCacheEncoder, KeyValueEncoder, SlotEncoder
from siren_grpc.models.features import StreamingFeatures
from siren_grpc.models.nemo_backend import NemoBackend, NemoParts
from siren_grpc.models.vocabulary import token_texts

EMBEDDED_MODEL = "siren-mini-en"
"""The model that ships with the package."""
_ASSETS = Path(__file__).parent / "assets"
_PREFERRED_CHUNK_FRAMES = 7
_PREFERRED_DECODER = {EMBEDDED_MODEL: DecoderKind.CTC}
"""The decoder that hears a model's purpose better: digits here (docs/model-card.md)."""
_MAX_SYMBOLS_PER_FRAME = 10
_FAMILY = "cache-aware-fastconformer"

_log = logging.getLogger(__name__)


class UnsupportedModel(Exception):
    """A checkpoint that is no cache-aware streaming model; the message says what it is."""


def checkpoint_path(name: str) -> Path | None:
    """Return the file a model name stands for, None when it is the name of a hub's model.

    Raises FileNotFoundError for a `.nemo` path that does not exist.
    """
    if name == EMBEDDED_MODEL:
        return _ASSETS / f"{EMBEDDED_MODEL}.nemo"
    path = Path(name).expanduser()
    if path.suffix == ".nemo":
        if not path.is_file():
            raise FileNotFoundError(f"no checkpoint at {path}")
        return path
    return None


def model_id(name: str) -> str:
    """Return the id clients use for a model: a hub name as it is, a file's name without suffix."""
    path = Path(name)
    return path.stem if path.suffix == ".nemo" else name


def restore(name: str, *, device: str) -> ASRModel:
    """Load a checkpoint by hub name, `.nemo` path or the embedded model's name.

    device: a torch device such as "cpu" or "cuda:0". Hub models are fetched on first use and
    kept in NeMo's cache. Raises FileNotFoundError or what NeMo raises.
    """
    path = checkpoint_path(name) or fetch(name)
    connector = SaveRestoreConnector()
    with tempfile.TemporaryDirectory() as folder:
        if path.is_dir():
            connector.model_extracted_dir = str(path)
        else:
            _extract(path, Path(folder))
            connector.model_extracted_dir = folder
        model = ASRModel.restore_from(
            str(path), map_location=torch.device(device), save_restore_connector=connector
        )
    model.freeze()
    model.eval()
    return model


def fetch(name: str) -> Path:
    """Return where a hub's model lies on this machine, downloading it first if need be.

    Returns a `.nemo` file, or the folder of a model the hub keeps unpacked. The hub's client
    shows its progress and resumes a download that broke off. Raises what it raises when the hub
    cannot be reached or knows no such model.
    """
    return Path(str(ASRModel.from_pretrained(name, return_model_file=True)))


def _extract(checkpoint: Path, folder: Path) -> None:
    """Unpack a checkpoint, its unsafe members left out.

    As NeMo does, but for every Python: NeMo's own call needs the extraction filters that came
    with 3.10.12 and 3.11.4, and Debian 12 has 3.11.2.
    """
    with tarfile.open(checkpoint) as tar:
        safe = [member for member in tar if is_safe_tar_member(member, str(folder.resolve()))]
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, safe, filter="data")
        else:
            tar.extractall(folder, safe)


def load(
    name: str,
    *,
    device: str,
    n_slots: int,
    max_batch: int,
    chunk_frames: int | None = None,
    decoder: DecoderKind | None = None,
    encoder_cache: EncoderCache = EncoderCache.KEYS_VALUES,
) -> NemoBackend:
    """Load a cache-aware streaming model as a backend, not warmed up yet.

    n_slots: sessions at once. max_batch: rows of one step. chunk_frames, decoder: the defaults of
    streams that name none. encoder_cache: what to keep of the left context. Raises
    UnsupportedModel for other kinds of checkpoints, and for defaults the model does not offer.
    """
    model = restore(name, device=device)
    return backend_of(
        model,
        model_id(name),
        n_slots=n_slots,
        max_batch=max_batch,
        chunk_frames=chunk_frames,
        decoder=decoder,
        encoder_cache=encoder_cache,
    )


def backend_of(
    model: ASRModel,
    name: str,
    *,
    n_slots: int,
    max_batch: int,
    chunk_frames: int | None = None,
    decoder: DecoderKind | None = None,
    encoder_cache: EncoderCache = EncoderCache.KEYS_VALUES,
) -> NemoBackend:
    """Make a backend of a restored model; see `load`."""
    decoder = decoder or _PREFERRED_DECODER.get(name)
    encoder = _streaming_encoder(model, name)
    featurizer = model.preprocessor.featurizer
    featurizer.dither = 0.0  # training noise; recognition is to be repeatable
    geometry = FeatureGeometry(
        sample_rate_hertz=int(model.cfg.preprocessor.sample_rate),
        hop_samples=int(featurizer.hop_length),
        window_samples=int(featurizer.win_length),
        subsampling=int(encoder.subsampling_factor),
    )
    contexts = _contexts(encoder, name)
    slots = n_slots + 1  # one spare, for the padding rows of a batch
    try:
        features = StreamingFeatures(featurizer, geometry, n_slots=slots)
    except ValueError as error:
        raise UnsupportedModel(f"{name}: {error}") from error
    decoders = _decoders(model, name, n_slots=slots)
    kinds = tuple(sorted(decoders, key=lambda kind: kind is not decoder))
    if decoder is not None and decoder not in decoders:
        raise UnsupportedModel(
            f"{name} has no {decoder.value} decoder; it has {', '.join(k.value for k in kinds)}"
        )
    look_aheads = tuple(sorted(contexts))
    info = ModelInfo(
        id=name,
        family=_FAMILY,
        language_codes=_languages(model, name),
        features=geometry,
        look_aheads=look_aheads,
        default_chunk_frames=_default_chunk_frames(chunk_frames, contexts, name),
        decoders=kinds,
        token_texts=token_texts(model),
        punctuation=frozenset(getattr(model.decoding, "supported_punctuation", None) or ()),
    )
    slot_encoder = _slot_encoder(encoder, contexts, name, encoder_cache, n_slots=slots)
    parts = NemoParts(info, model, features, slot_encoder, decoders)
    return NemoBackend(parts, n_slots=n_slots, max_batch=max_batch)


def _streaming_encoder(model: ASRModel, name: str) -> ConformerEncoder:
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, (ConformerEncoder, streaming.StreamingEncoder)):
        raise UnsupportedModel(
            f"{name} ({type(model).__name__}) has no encoder that can stream; use a cache-aware "
            "model such as nvidia/nemotron-speech-streaming-en-0.6b"
        )
    style = getattr(encoder, "att_context_style", None)
    if style != "chunked_limited":
        raise UnsupportedModel(
            f"{name} was not trained for cache-aware streaming (attention style {style!r}, needed "
            "'chunked_limited'); use a model such as nvidia/nemotron-speech-streaming-en-0.6b"
        )
    if hasattr(model, "set_inference_prompt") or "Prompt" in type(model).__name__:
        raise UnsupportedModel(
            f"{name} ({type(model).__name__}) takes a language prompt, which this server does not "
            "support yet"
        )
    return encoder


def _slot_encoder(
    encoder: ConformerEncoder,
    contexts: dict[int, tuple[int, int]],
    name: str,
    cache: EncoderCache,
    *,
    n_slots: int,
) -> SlotEncoder:
    if cache is EncoderCache.INPUTS:
        return InputCacheEncoder(encoder, contexts, n_slots=n_slots)
    obstacle = why_unsupported(encoder)
    if obstacle is None:
        return KeyValueEncoder(encoder, contexts, n_slots=n_slots)
    _log.info("%s has %s: stepped by NeMo's own code, which is slower", name, obstacle)
    return InputCacheEncoder(encoder, contexts, n_slots=n_slots)


def _contexts(encoder: ConformerEncoder, name: str) -> dict[int, tuple[int, int]]:
    """Return the (left, right) attention context of each look-ahead by its chunk_frames."""
    contexts: dict[int, tuple[int, int]] = {}
    for left, right in encoder.att_context_size_all:
        # Left contexts that are no multiple of the chunk silently hide part of it (NeMo numbers
        # chunks from the start of the cache); unlimited ones have no O(1) step.
        if left > 0 and right >= 0 and left % (right + 1) == 0:
            contexts.setdefault(right + 1, (left, right))
        else:
            _log.warning("%s: attention context [%d, %d] cannot be streamed", name, left, right)
    if not contexts:
        raise UnsupportedModel(
            f"{name} has no attention context that can be streamed: {encoder.att_context_size_all}"
        )
    return contexts


def _default_chunk_frames(
    wanted: int | None, contexts: dict[int, tuple[int, int]], name: str
) -> int:
    if wanted is not None:
        if wanted not in contexts:
            known = ", ".join(str(frames) for frames in sorted(contexts))
            raise UnsupportedModel(
                f"{name} was not trained for chunk_frames {wanted}; it offers {known}"
            )
        return wanted
    if _PREFERRED_CHUNK_FRAMES in contexts:
        return _PREFERRED_CHUNK_FRAMES
    return next(iter(contexts))  # the model's own default comes first


def _decoders(model: Any, name: str, *, n_slots: int) -> dict[DecoderKind, SlotDecoder]:
    decoders: dict[DecoderKind, SlotDecoder] = {}
    if isinstance(model, EncDecRNNTModel):
        if getattr(model.joint, "num_extra_outputs", 0):
            raise UnsupportedModel(
                f"{name} has a TDT decoder, which this server does not stream yet"
            )
        decoders[DecoderKind.RNNT] = RnntSlotDecoder(
            GreedyBatchedRNNTLabelLoopingComputer(
                decoder=model.decoder,
                joint=model.joint,
                blank_index=model.decoder.blank_idx,
                max_symbols_per_step=_max_symbols(model),
                allow_cuda_graphs=True,
            ),
            d_model=model.encoder.d_model,
            n_slots=n_slots,
        )
    if isinstance(model, EncDecHybridRNNTCTCModel):
        decoders[DecoderKind.CTC] = _ctc(model.ctc_decoder, n_slots)
    elif isinstance(model, EncDecCTCModel):
        decoders[DecoderKind.CTC] = _ctc(model.decoder, n_slots)
    if not decoders:
        raise UnsupportedModel(f"{name} ({type(model).__name__}) is neither RNNT nor CTC")
    return decoders


def _ctc(head: Any, n_slots: int) -> CtcSlotDecoder:
    return CtcSlotDecoder(head, blank=head.num_classes_with_blank - 1, n_slots=n_slots)


def _max_symbols(model: Any) -> int:
    """Return the most tokens per encoder frame: the checkpoint's own setting, as NeMo uses it."""
    greedy = model.cfg.decoding.get("greedy", None)
    wanted = None if greedy is None else greedy.get("max_symbols", None)
    return int(wanted) if wanted else _MAX_SYMBOLS_PER_FRAME


def _languages(model: ASRModel, name: str) -> tuple[str, ...]:
    """Return BCP-47 codes: of the config, else of an aggregate tokenizer, else from the name."""
    configured = model.cfg.get("language_codes", None)
    if configured:
        return tuple(str(code) for code in configured)
    by_language = getattr(getattr(model, "tokenizer", None), "tokenizers_dict", None)
    if by_language:
        return tuple(str(code) for code in by_language)
    for part in name.replace("/", "_").replace("-", "_").split("_"):
        if len(part) == 2 and part.isalpha() and part.lower() in _KNOWN_LANGUAGES:
            return (part.lower(),)
    return ("en",)


# fmt: off
_KNOWN_LANGUAGES = frozenset({
    "ar", "be", "ca", "de", "en", "eo", "es", "fa", "fr", "hi", "hr", "it", "ja", "ka", "kk", "nl",
    "pl", "pt", "ru", "rw", "sr", "uk", "uz", "zh",
})
# fmt: on
