"""What NeMo itself makes of a recording: stepped chunk by chunk, and all at once.

Nothing here uses siren_grpc: these are the answers ours are held against.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nemo.collections.asr.models import ASRModel, EncDecCTCModel, EncDecHybridRNNTCTCModel
from nemo.collections.asr.parts.submodules.ctc_decoding import CTCBPEDecoding, CTCBPEDecodingConfig
from nemo.collections.asr.parts.submodules.rnnt_decoding import RNNTBPEDecoding
from nemo.collections.asr.parts.utils.streaming_utils import (
    CacheAwareStreamingAudioBuffer,
    ContextSize,
    StreamingBatchedAudioBuffer,
)
from numpy.typing import NDArray
from omegaconf import OmegaConf


@dataclass(frozen=True)
class Transcript:
    """Token ids, for each the encoder frame it was emitted at, and the text of them all."""

    tokens: tuple[int, ...]
    frames: tuple[int, ...]
    text: str


@dataclass(frozen=True)
class TimedWord:
    """A word as NeMo places and judges it: encoder frames, and confidence 0 to 1."""

    text: str
    start: int
    end: int
    confidence: float


@dataclass(frozen=True)
class Timed:
    """A transcript with what NeMo tells of its tokens and words when it is asked to.

    starts, ends: of each token, in encoder frames. words: empty if NeMo cannot tell them.
    """

    tokens: tuple[int, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]
    confidences: tuple[float, ...]
    words: tuple[TimedWord, ...]


class NemoReference:
    """A checkpoint as NeMo restores and runs it."""

    def __init__(self, path: Path) -> None:
        self.model: Any = ASRModel.restore_from(str(path), map_location=torch.device("cpu"))
        self._settle()

    def _settle(self) -> None:
        self.model.freeze()
        self.model.eval()
        self.model.preprocessor.featurizer.dither = 0.0

    def speak(self, language: str) -> None:
        """Prompt the model with a language from now on; tags of languages are left out of text."""
        self.model.set_inference_prompt(language)
        self.model.decoding.set_strip_lang_tags(True)

    def features(self, samples: NDArray[np.float32]) -> torch.Tensor:
        """Return the mel features of a whole recording, [n_mels, n_feature_frames]."""
        with torch.inference_mode():
            features, lengths = self.model.preprocessor(
                input_signal=torch.from_numpy(samples)[None],
                length=torch.tensor([len(samples)]),
            )
        # Behind the last frame the preprocessor appends one that is masked.
        return features[0, :, : int(lengths[0])]

    def encode(
        self, samples: NDArray[np.float32], look_ahead: tuple[int, int] | None
    ) -> torch.Tensor:
        """Return what the encoder makes of a whole recording at once, [n_frames, d_model].

        look_ahead: (left, right) attention context; None for an offline model's full attention.
        """
        features = self.features(samples)
        with torch.inference_mode():
            if look_ahead is not None:
                self.model.encoder.set_default_att_context_size(list(look_ahead))
            encoded, lengths = self.model.encoder(
                audio_signal=features[None], length=torch.tensor([features.shape[1]])
            )
            encoded = self.model._apply_prompt_to_encoded(encoded)
        return encoded[0, :, : int(lengths[0])].T

    def decode_offline(
        self, samples: NDArray[np.float32], look_ahead: tuple[int, int] | None, decoder: str
    ) -> Transcript:
        """Recognise a whole recording at once with the attention mask of a look-ahead, if any."""
        encoded = self.encode(samples, look_ahead).T[None]
        lengths = torch.tensor([encoded.shape[2]])
        with torch.inference_mode():
            if decoder != "ctc":
                [hypothesis] = self.model.decoding.rnnt_decoder_predictions_tensor(
                    encoder_output=encoded, encoded_lengths=lengths, return_hypotheses=True
                )
                return _of_hypothesis(hypothesis)
            labels = self._ctc_head(encoder_output=encoded).argmax(dim=-1)[0]
        return self._of_labels(labels)

    def decode_timed(
        self, samples: NDArray[np.float32], look_ahead: tuple[int, int] | None, decoder: str
    ) -> Timed:
        """Recognise as `decode_offline` does, with NeMo's own times and confidences."""
        encoded = self.encode(samples, look_ahead).T[None]
        lengths = torch.tensor([encoded.shape[2]])
        model = self.model
        options = {
            "strategy": "greedy_batch",
            "compute_timestamps": True,
            "confidence_cfg": {
                "preserve_token_confidence": True,
                "exclude_blank": True,
                "method_cfg": {"alpha": 1.0},
            },
        }
        if decoder == "ctc":
            decoding = CTCBPEDecoding(OmegaConf.create(options), model.tokenizer)
            head = self._ctc_head(encoder_output=encoded)
            [found] = decoding.ctc_decoder_predictions_tensor(head, lengths, return_hypotheses=True)
            labels = found.y_sequence
            tokens = self._of_labels(torch.as_tensor(labels)).tokens
        else:
            config = OmegaConf.to_container(model.cfg.decoding) | options
            decoding = RNNTBPEDecoding(
                OmegaConf.create(config), model.decoder, model.joint, model.tokenizer
            )
            [found] = decoding.rnnt_decoder_predictions_tensor(
                encoded, lengths, return_hypotheses=True
            )
            tokens = tuple(int(token) for token in found.y_sequence)
        confidences = tuple(map(float, found.token_confidence))
        places = found.timestamp["char"]
        return Timed(
            tokens,
            tuple(int(place["start_offset"]) for place in places),
            tuple(int(place["end_offset"]) for place in places),
            confidences,
            _timed_words(decoding, tokens, found, decoder),
        )

    def decode_best(
        self, encoded: torch.Tensor, decoder: str, beam: int
    ) -> list[tuple[tuple[int, ...], float]]:
        """Return the beam's readings of encoder frames [n_frames, d_model], the best first.

        Each is its tokens and their log probability.
        """
        frames, lengths = encoded.T[None], torch.tensor([len(encoded)])
        options = {
            "strategy": "beam_batch" if decoder == "ctc" else "malsd_batch",
            "beam": {
                "beam_size": beam,
                "return_best_hypothesis": False,
                "beam_beta": 0.0,
                "allow_cuda_graphs": False,
            },
        }
        model = self.model
        with torch.inference_mode():
            if decoder == "ctc":
                config = OmegaConf.merge(OmegaConf.structured(CTCBPEDecodingConfig), options)
                decoding = CTCBPEDecoding(config, model.tokenizer)
                head = self._ctc_head(encoder_output=frames)
                found = decoding.ctc_decoder_predictions_tensor(
                    head, lengths, return_hypotheses=True
                )
            else:
                config = OmegaConf.to_container(model.cfg.decoding) | options
                config["beam"]["score_norm"] = False
                config["beam"]["max_symbols"] = config["greedy"]["max_symbols"]
                decoding = RNNTBPEDecoding(
                    OmegaConf.create(config), model.decoder, model.joint, model.tokenizer
                )
                found = decoding.rnnt_decoder_predictions_tensor(
                    frames, lengths, return_hypotheses=True
                )
        return [
            (tuple(int(token) for token in hypothesis.y_sequence), float(hypothesis.score))
            for hypothesis in found[0]
        ]

    def decode_stepwise(
        self, samples: NDArray[np.float32], look_ahead: tuple[int, int], decoder: str
    ) -> Transcript:
        """Recognise chunk by chunk, as NeMo's own cache-aware streaming example does.

        After examples/asr/asr_cache_aware_streaming/speech_to_text_cache_aware_streaming_infer.py.
        """
        model, encoder = self.model, self.model.encoder
        if isinstance(model, EncDecHybridRNNTCTCModel):
            model.cur_decoder = decoder
        encoder.set_default_att_context_size(list(look_ahead))
        buffer = CacheAwareStreamingAudioBuffer(model=model)
        with torch.inference_mode():
            # Not append_audio: that takes the masked frame behind the last for audio.
            buffer.append_processed_signal(self.features(samples)[None])
            channel, time, channel_len = encoder.get_initial_cache_state(batch_size=1)
            hypotheses = labels = None
            for step, (chunk, lengths) in enumerate(buffer):
                labels, _, channel, time, channel_len, hypotheses = model.conformer_stream_step(
                    processed_signal=chunk,
                    processed_signal_length=lengths,
                    cache_last_channel=channel,
                    cache_last_time=time,
                    cache_last_channel_len=channel_len,
                    keep_all_outputs=buffer.is_buffer_empty(),
                    previous_hypotheses=hypotheses,
                    previous_pred_out=labels,
                    drop_extra_pre_encoded=(
                        encoder.streaming_cfg.drop_extra_pre_encoded if step else 0
                    ),
                    return_transcription=True,
                )
        if hypotheses is not None:
            return _of_hypothesis(hypotheses[0])
        return self._of_labels(labels[0]) if labels is not None else Transcript((), (), "")

    def decode_buffered(
        self, samples: NDArray[np.float32], context: tuple[int, int, int], decoder: str
    ) -> Transcript:
        """Recognise through a sliding window, as NeMo's own buffered streaming example does.

        After examples/asr/asr_chunked_inference/rnnt/speech_to_text_streaming_infer_rnnt.py:
        NeMo's buffer, encoder and, with its state carried on, decoder; for CTC the labels of the
        windows' chunks are joined. context: left, chunk and right in encoder frames.
        """
        model = self.model
        frame_samples = model.encoder.subsampling_factor * model.preprocessor.featurizer.hop_length
        expected = ContextSize(*(frames * frame_samples for frames in context))
        buffer = StreamingBatchedAudioBuffer(1, expected, torch.float32, "cpu")
        audio = torch.from_numpy(samples)[None]
        state, tokens, frames, labels = None, [], [], []
        at, end = 0, min(expected.chunk + expected.right, len(samples))
        with torch.inference_mode():
            while at < len(samples):
                is_last = end >= len(samples)
                buffer.add_audio_batch_(
                    audio[:, at:end],
                    audio_lengths=torch.tensor([end - at]),
                    is_last_chunk=is_last,
                    is_last_chunk_batch=torch.tensor([is_last]),
                )
                features, lengths = model.preprocessor(
                    input_signal=buffer.samples, length=buffer.context_size_batch.total()
                )
                encoded, ends = model.encoder(audio_signal=features, length=lengths)
                encoded = model._apply_prompt_to_encoded(encoded)
                window = buffer.context_size.subsample(frame_samples)
                fresh = encoded[:, :, window.left :]
                n_fresh = ends - window.left if is_last else torch.tensor([window.chunk])
                if decoder == "ctc":
                    head = self._ctc_head(encoder_output=fresh[..., : int(n_fresh[0])])
                    labels.append(head.argmax(dim=-1)[0])
                else:
                    computer = model.decoding.decoding.decoding_computer
                    found, state = computer(fresh.transpose(1, 2), n_fresh, state)
                    n_tokens = int(found.current_lengths[0])
                    tokens += found.transcript[0, :n_tokens].tolist()
                    frames += found.timestamps[0, :n_tokens].tolist()
                at, end = end, min(end + expected.chunk, len(samples))
        if decoder == "ctc":
            return self._of_labels(torch.cat(labels))
        text = model.decoding.decode_tokens_to_str_with_strip_punctuation(tokens)
        return Transcript(tuple(tokens), tuple(frames), str(text))

    def transcribe(
        self, samples: NDArray[np.float32], look_ahead: tuple[int, int], decoder: str
    ) -> str:
        """Return the text of `model.transcribe`, the call NeMo's users know."""
        if isinstance(self.model, EncDecHybridRNNTCTCModel):
            self.model.cur_decoder = decoder
        self.model.encoder.set_default_att_context_size(list(look_ahead))
        [hypothesis] = self.model.transcribe([samples], batch_size=1, verbose=False)
        self._settle()  # transcribe leaves the encoder as it is in training, dropout and all
        return str(hypothesis.text)

    @property
    def _ctc_head(self) -> Any:
        model = self.model
        return model.decoder if isinstance(model, EncDecCTCModel) else model.ctc_decoder

    def _of_labels(self, labels: torch.Tensor) -> Transcript:
        """Join repeats and drop blanks: the definition of CTC, label by label."""
        blank = self._ctc_head.num_classes_with_blank - 1
        runs = [
            (label, next(iter(run))[0])
            for label, run in groupby(enumerate(labels.tolist()), key=lambda item: item[1])
            if label != blank
        ]
        tokens = tuple(label for label, _ in runs)
        decoding = getattr(self.model, "ctc_decoding", self.model.decoding)
        text = decoding.decode_tokens_to_str_with_strip_punctuation(list(tokens))
        return Transcript(tokens, tuple(frame for _, frame in runs), str(text))


def _timed_words(
    decoding: Any, tokens: tuple[int, ...], found: Any, decoder: str
) -> tuple[TimedWord, ...]:
    places = found.timestamp["word"]
    try:
        certainties = decoding._aggregate_token_confidence_subwords_sentencepiece(
            [place["word"] for place in places], found.token_confidence, list(tokens)
        )
    except RuntimeError:
        return ()  # it loses count where spaces or marks are tokens of their own
    return tuple(
        TimedWord(place["word"], int(place["start_offset"]), int(place["end_offset"]), float(sure))
        for place, sure in zip(places, certainties, strict=True)
    )


def _of_hypothesis(hypothesis: Any) -> Transcript:
    return Transcript(
        tuple(int(token) for token in hypothesis.y_sequence),
        tuple(int(frame) for frame in hypothesis.timestamp),
        str(hypothesis.text),
    )


def steps_lose_the_tail(n_feature_frames: int, chunk_frames: int, subsampling: int = 8) -> bool:
    """Tell whether NeMo's streaming buffer drops the end of a recording of so many frames.

    `CacheAwareStreamingAudioBuffer` ends before a last chunk of less than one encoder frame.
    """
    first = subsampling * (chunk_frames - 1) + 1
    rest = (n_feature_frames - first) % (subsampling * chunk_frames)
    return n_feature_frames > first and 0 < rest < subsampling
