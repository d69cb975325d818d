"""From a model's name to its streaming parts."""

from __future__ import annotations

import logging
import tarfile
import tempfile
from pathlib import Path

import torch
from nemo.collections.asr.models import ASRModel
from nemo.collections.asr.modules.conformer_encoder import ConformerEncoder
from nemo.collections.asr.parts.mixins import streaming
from nemo.core.connectors.save_restore_connector import SaveRestoreConnector
from nemo.utils.tar_utils import is_safe_tar_member

from siren_grpc.domain.geometry import BufferedSeconds
from siren_grpc.domain.model import DecoderKind, EncoderCache, ModelInfo, Precision
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.buffered_loader import DEFAULT_CONTEXT, buffered_backend_of, is_buffered
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
from siren_grpc.models.conformer import why_unsupported
from siren_grpc.models.encoder import InputCacheEncoder, KeyValueEncoder, SlotEncoder
from siren_grpc.models.features import StreamingFeatures
from siren_grpc.models.languages import languages_of
from siren_grpc.models.layer_graphs import GpuRecorder
from siren_grpc.models.nemo_backend import NemoBackend, NemoParts
from siren_grpc.models.prompts import prompts_of
from siren_grpc.models.readings import readings_of
from siren_grpc.models.shared_settings import Offer, OnUnmet, Unmet, Wanted, choose, refusal
from siren_grpc.models.vocabulary import end_tokens, language_tags, token_texts

EMBEDDED_MODEL = "siren-mini-en"
"""The model that ships with the package."""
_ASSETS = Path(__file__).parent / "assets"
_PREFERRED_CHUNK_FRAMES = 7
_PREFERRED_DECODER = {EMBEDDED_MODEL: DecoderKind.CTC}
"""The decoder that hears a model's purpose better: digits here (docs/model-card.md)."""
_FAMILY = "cache-aware-fastconformer"

_log = logging.getLogger(__name__)


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


def refuse(unmet: Unmet) -> None:
    """Refuse a model that cannot follow a setting. Raises UnsupportedModel."""
    raise UnsupportedModel(refusal((unmet,)))


def load(
    name: str,
    *,
    device: str,
    n_slots: int,
    max_batch: int,
    chunk_frames: int | None = None,
    decoder: DecoderKind | None = None,
    encoder_cache: EncoderCache = EncoderCache.KEYS_VALUES,
    precision: Precision = Precision.FP32,
    cuda_graphs: bool = False,
    buffered: BufferedSeconds = DEFAULT_CONTEXT,
) -> LoadedBackend:
    """Load a cache-aware streaming model, or an offline one to be buffered, not warmed up yet.

    n_slots: sessions at once. max_batch: most rows of a step. chunk_frames, decoder: defaults of
    streams that name none. encoder_cache: what a cache-aware model keeps of the left context.
    precision: of the encoder's products. cuda_graphs: of a cache-aware encoder's layers with
    KEYS_VALUES, where it is on a GPU. buffered: the default window of an offline model. Raises
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
        precision=precision,
        cuda_graphs=cuda_graphs,
        buffered=buffered,
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
    precision: Precision = Precision.FP32,
    cuda_graphs: bool = False,
    buffered: BufferedSeconds = DEFAULT_CONTEXT,
    on_unmet: OnUnmet = refuse,
) -> LoadedBackend:
    """Make a backend of a restored model; see `load`.

    on_unmet: asked once about each of chunk_frames and decoder that the model cannot follow, before
    anything is allocated; what it raises is raised.
    """
    wanted = Wanted(chunk_frames, decoder)
    if is_buffered(model):
        return buffered_backend_of(
            model,
            name,
            n_slots=n_slots,
            max_batch=max_batch,
            wanted=wanted,
            precision=precision,
            default=buffered,
            on_unmet=on_unmet,
        )
    encoder = _streaming_encoder(model, name)
    contexts = _contexts(encoder, name)
    kinds = decoder_kinds_of(model, name, preferred=_PREFERRED_DECODER.get(name))
    offer = Offer(name, tuple(sorted(contexts)), _default_chunk_frames(contexts), kinds)
    chosen = choose(wanted, offer, on_unmet)
    geometry = feature_geometry_of(model)
    featurizer = model.preprocessor.featurizer
    featurizer.dither = 0.0  # training noise; recognition is to be repeatable
    slots = n_slots + 1  # one spare, for the padding rows of a batch
    try:
        features = StreamingFeatures(featurizer, geometry, n_slots=slots)
    except ValueError as error:
        raise UnsupportedModel(f"{name}: {error}") from error
    phrases = slot_phrases_of(model, slots)
    decoders = decoders_of(model, name, first=chosen.decoder, n_slots=slots, phrases=phrases)
    prompts = prompts_of(model, name, n_slots=slots)
    info = ModelInfo(
        id=name,
        family=_FAMILY,
        language_codes=languages_of(model, name) if prompts is None else prompts.codes,
        features=geometry,
        look_aheads=offer.chunk_frames,
        default_chunk_frames=chosen.chunk_frames,
        decoders=tuple(decoders),
        biasing_decoders=tuple(decoders),
        token_texts=token_texts(model),
        end_tokens=end_tokens(model),
        language_tags=language_tags(model),
        punctuation=frozenset(getattr(model.decoding, "supported_punctuation", None) or ()),
    )
    try:
        slot_encoder = _slot_encoder(
            encoder,
            contexts,
            name,
            encoder_cache,
            precision,
            n_slots=slots,
            cuda_graphs=cuda_graphs,
        )
    except ValueError as error:
        raise UnsupportedModel(f"{name}: {error}") from error
    readings = readings_of(model, decoders, n_slots=slots, max_symbols=max_symbols_of(model))
    parts = NemoParts(info, model, features, slot_encoder, decoders, phrases, readings, prompts)
    return NemoBackend(parts, n_slots=n_slots, batch_sizes=sizes_up_to(max_batch))


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
            f"{name} has an encoder this server cannot stream (attention style {style!r}; it takes "
            "'chunked_limited', 'regular' and 'chunked_limited_with_rc'); use a model such as "
            "nvidia/nemotron-speech-streaming-en-0.6b"
        )
    return encoder


def _slot_encoder(
    encoder: ConformerEncoder,
    contexts: dict[int, tuple[int, int]],
    name: str,
    cache: EncoderCache,
    precision: Precision,
    *,
    n_slots: int,
    cuda_graphs: bool,
) -> SlotEncoder:
    obstacle = why_unsupported(encoder)
    if obstacle is None and cache is EncoderCache.KEYS_VALUES:
        device = next(encoder.parameters()).device
        record = GpuRecorder(device) if cuda_graphs and device.type == "cuda" else None
        return KeyValueEncoder(
            encoder, contexts, n_slots=n_slots, precision=precision, record=record
        )
    if obstacle is not None:
        _log.info("%s has %s: stepped by NeMo's own code, which is slower", name, obstacle)
    coarsen(encoder, precision)
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


def _default_chunk_frames(contexts: dict[int, tuple[int, int]]) -> int:
    if _PREFERRED_CHUNK_FRAMES in contexts:
        return _PREFERRED_CHUNK_FRAMES
    return next(iter(contexts))  # the model's own default comes first
