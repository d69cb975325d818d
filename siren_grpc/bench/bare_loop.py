"""The least work that recognises: NeMo's encoder step and decoder on ready-made features."""

from __future__ import annotations

from typing import Any

import torch
from nemo.collections.asr.models import EncDecHybridRNNTCTCModel
from nemo.collections.asr.parts.submodules.transducer_decoding.rnnt_label_looping import (
    GreedyBatchedRNNTLabelLoopingComputer,
)

from siren_grpc.bench.contestant import Streams
from siren_grpc.bench.engine_adapter import LoadedModel
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis

_MAX_SYMBOLS = 10  # NeMo's default when the checkpoint says nothing


class BareLoop:
    """`cache_aware_stream_step` and the greedy decoder, the whole batch's state in one piece.

    No slots, no features, no scheduling, no text: the floor under any server on this encoder.
    """

    name = "bare loop"

    def __init__(self, loaded: LoadedModel, info: ModelInfo, lane: Lane) -> None:
        """Share the model with the engine's backend, whose look-ahead must be the lane's."""
        self._model = loaded.model
        self._info = info
        self._lane = lane
        self._device = loaded.device
        model = loaded.model
        if lane.decoder is DecoderKind.RNNT:
            greedy = model.cfg.decoding.get("greedy", None) or {}
            self._computer = GreedyBatchedRNNTLabelLoopingComputer(
                decoder=model.decoder,
                joint=model.joint,
                blank_index=model.decoder.blank_idx,
                max_symbols_per_step=int(greedy.get("max_symbols", None) or _MAX_SYMBOLS),
                allow_cuda_graphs=True,
            )
        else:
            hybrid = isinstance(model, EncDecHybridRNNTCTCModel)
            self._head = model.ctc_decoder if hybrid else model.decoder

    def open(self, streams: Streams) -> None:
        """See `Contestant`: computes the features of the whole recordings, as NeMo does."""
        encoder = self._model.encoder
        contexts = encoder.att_context_size_all
        context = next(c for c in contexts if c[1] + 1 == self._lane.chunk_frames)
        encoder.set_default_att_context_size(list(context))
        with torch.inference_mode():
            features = torch.cat([self._features(samples) for samples in streams.samples])
            self._caches = encoder.get_initial_cache_state(
                batch_size=len(streams.samples), device=self._device
            )
        self._decoder_state: Any = None
        self._found: list[tuple[torch.Tensor, ...]] = []
        geometry = self._info.geometry(self._lane.chunk_frames)
        n_cached = encoder.streaming_cfg.pre_encode_cache_size[1]
        self._inputs = []
        at = 0
        while at + geometry.feature_frames(is_first=at == 0) <= features.shape[2]:
            end = at + geometry.feature_frames(is_first=at == 0)
            begin = at - n_cached if at else 0
            self._inputs.append(features[:, :, begin:end].contiguous())
            at = end
        self._at = 0

    def _features(self, samples: Any) -> torch.Tensor:
        signal = torch.from_numpy(samples)[None].to(self._device)
        length = torch.tensor([signal.shape[1]], device=self._device)
        features, lengths = self._model.preprocessor(input_signal=signal, length=length)
        result: torch.Tensor = features[:, :, : int(lengths[0])]
        return result

    def step(self) -> None:
        """See `Contestant`."""
        signal = self._inputs[self._at]
        encoder = self._model.encoder
        with torch.inference_mode():
            lengths = torch.full((signal.shape[0],), signal.shape[2], device=signal.device)
            drop = encoder.streaming_cfg.drop_extra_pre_encoded if self._at else 0
            encoded, encoded_len, *self._caches = encoder.cache_aware_stream_step(
                processed_signal=signal,
                processed_signal_length=lengths,
                cache_last_channel=self._caches[0],
                cache_last_time=self._caches[1],
                cache_last_channel_len=self._caches[2],
                keep_all_outputs=True,
                drop_extra_pre_encoded=drop,
            )
            if self._lane.decoder is DecoderKind.RNNT:
                hypotheses, self._decoder_state = self._computer(
                    encoded.transpose(1, 2), encoded_len, self._decoder_state
                )
                most = int(hypotheses.current_lengths.max())
                self._found.append(
                    (hypotheses.transcript[:, :most].cpu(), hypotheses.current_lengths.cpu())
                )
            else:
                labels = self._head(encoder_output=encoded).argmax(dim=-1)
                self._found.append((labels.cpu(), encoded_len.cpu()))
        self._at += 1

    def finish(self) -> list[str]:
        """See `Contestant`."""
        while self._at < len(self._inputs):
            self.step()
        n_streams = self._found[0][0].shape[0]
        return [self._text(stream) for stream in range(n_streams)]

    def _text(self, stream: int) -> str:
        tokens = [
            token
            for labels, lengths in self._found
            for token in labels[stream, : int(lengths[stream])].tolist()
        ]
        if self._lane.decoder is DecoderKind.CTC:
            blank = self._head.num_classes_with_blank - 1
            before = [blank, *tokens]
            tokens = [t for t, last in zip(tokens, before, strict=False) if t not in (last, blank)]
        hypothesis = Hypothesis(Detokenizer(self._info.token_texts, self._info.punctuation))
        hypothesis.extend(tokens)
        return hypothesis.finish()

    def session_bytes(self) -> int | None:
        """See `Contestant`: the encoder's caches."""
        return int(sum(cache.nbytes for cache in self._caches)) // len(self._caches[2])
