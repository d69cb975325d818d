"""What the recognised tokens of one stream amount to: partials, events and finals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.domain.geometry import ChunkGeometry
from siren_grpc.domain.readings import FrameSpan
from siren_grpc.domain.results import (
    Final,
    Partial,
    Reconfigured,
    Result,
    SpeechEvent,
    SpeechEventKind,
    Word,
    WordDetail,
)
from siren_grpc.domain.step import StepResult
from siren_grpc.domain.work import (
    AudioWork,
    Chunk,
    DiscardUtterance,
    EndUtterance,
    Reconfigure,
    RestartState,
    StreamOptions,
)
from siren_grpc.session.endpointer import Endpoint, Endpointer, SpeechStart, TokenPlace
from siren_grpc.session.voice_activity import VoiceActivity
from siren_grpc.session.word_times import WordTimes, utterance_confidence
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis

_LOOKBACK_MS = 320
"""How much of the silence before a hard endpoint the fresh model hears, too."""
_IN_SILENCE = frozenset({FinalCause.SILENCE, FinalCause.NO_SPEECH, FinalCause.END_TOKEN})
"""Endpoints at which nobody speaks: where a model can start afresh without losing a word."""


@dataclass(frozen=True, slots=True)
class RewindPoint:
    """Where in the stream a fresh model starts to hear; seq: what is accounted for there."""

    at_samples: int
    seq: int


class Utterance:
    """The current utterance of a stream. One per stream, restarted at each utterance's end."""

    def __init__(
        self,
        detokenizer: Detokenizer,
        geometry: ChunkGeometry,
        options: StreamOptions | None = None,
        *,
        end_tokens: frozenset[int] = frozenset(),
        words: WordDetail = WordDetail.NONE,
        language_code: str = "",
        language_tags: Mapping[int, str] = MappingProxyType({}),
    ) -> None:
        """Start the first utterance at the stream's first sample.

        end_tokens: ids by which the model says that a speaker has finished. words: which results
        list their words. language_code: of what is spoken, until one of language_tags, codes by
        token id, says otherwise; empty when nobody knows.
        """
        self._language_code = language_code
        self._language_tags = language_tags
        self._detokenizer = detokenizer
        self._geometry = geometry
        self._end_tokens = end_tokens
        self._options = options or StreamOptions()
        self._seq = 0
        self._word_detail = words
        self._words: WordTimes | None = None
        if words is not WordDetail.NONE:
            self._words = WordTimes(detokenizer, geometry.features.encoder_frame_samples)
        self._n_states = -1
        self._start(at_samples=0)
        hertz = geometry.features.sample_rate_hertz
        self._endpointer = Endpointer(None, hertz, start_samples=0)
        self._apply_rules(from_samples=0)
        self._restart_state(at_samples=0)

    @property
    def rewind_to(self) -> RewindPoint | None:
        """Where a fresh model is to start hearing: behind a hard endpoint, until it does."""
        return self._rewind_to

    def _start(self, *, at_samples: int) -> None:
        self._hypothesis = Hypothesis(self._detokenizer)
        self._start_samples = at_samples
        self._sent: tuple[str, int] = ("", 0)
        self._partial_at: int | None = None
        """How far its last partial came; None before the first."""
        if self._words is not None:
            self._words.start(at_samples=at_samples)

    def _restart_state(self, *, at_samples: int) -> None:
        """Count encoder frames from a position on: the model starts afresh."""
        self._origin_samples = at_samples
        self._n_states += 1
        if self._words is not None:
            self._words.set_origin(at_samples)
        self._feature_frames = 0
        self._rewind_to: RewindPoint | None = None
        if self._voice is not None:
            self._voice.restart(at_samples)
        self._endpointer.silence(at_samples)
        self._endpointer.restart(max(at_samples, self._start_samples))

    def _apply_rules(self, *, from_samples: int) -> None:
        self._rules = self._options.endpointing
        self._rules_from_samples = from_samples
        self._endpointer.set_rules(self._rules, from_samples=from_samples)
        self._endpointer.silence(from_samples)
        self._voice = _voice_activity(self._rules, self._geometry)
        if self._voice is not None:
            self._voice.restart(from_samples)

    def advance(self, work: AudioWork, result: StepResult) -> list[Result]:
        """Take in what a step found in a chunk or preview; return what the client should see."""
        if isinstance(work, Chunk):
            results = self._advance_chunk(work, result)
            if self._rewind_to is not None:
                result = replace(result, tail=())
            text = self._hypothesis.previewed(result.tail)
            # Behind a hard endpoint nothing is accounted for before it is heard again.
            self._seq = work.seq if self._rewind_to is None else self._rewind_to.seq
        else:
            results = []
            text = self._hypothesis.previewed(result.tokens)
        # Promise 1: only the text of whole chunks is stable; a preview or a right context may be
        # read otherwise once its chunk is complete.
        shown = (text, len(self._hypothesis.text))
        if shown != self._sent and self._is_partial_due(work.end_samples):
            self._sent = shown
            self._partial_at = work.end_samples
            words = self._shown_words(work, result, *shown)
            results.append(Partial(*shown, work.seq, work.end_samples, words))
        return results

    def _is_partial_due(self, at_samples: int) -> bool:
        interval = self._geometry.features.samples_of_ms(self._options.partial_interval_ms)
        return self._partial_at is None or at_samples >= self._partial_at + interval

    def finish(self, end: EndUtterance) -> list[Result]:
        """End the utterance with its one final (promise 4) and start the next, state and all."""
        at = end.end_samples
        endpoint = Endpoint(at, end.cause, 0, self._endpointer.speech_end(at))
        # What is heard in the padding behind its end is its own, too.
        results = self._conclude(endpoint, end.seq, resume_samples=end.end_samples, is_whole=True)
        self._restart_state(at_samples=end.end_samples)
        self._seq = end.seq
        return results

    def discard(self, discard: DiscardUtterance) -> None:
        """Forget the utterance and start the next, state and all."""
        self._start(at_samples=discard.end_samples)
        self._restart_state(at_samples=discard.end_samples)

    def restart_state(self, restart: RestartState) -> None:
        """Go on with a fresh model that hears the audio from a position on."""
        self._restart_state(at_samples=restart.at_samples)

    def reconfigure(self, change: Reconfigure) -> list[Result]:
        """Apply other options from here on; the utterance goes on."""
        had = self._options.endpointing
        self._options = change.options
        if change.options.endpointing != had:
            self._apply_rules(from_samples=change.at_samples)
        return [Reconfigured(change.options, change.at_samples)]

    def _advance_chunk(self, work: Chunk, result: StepResult) -> list[Result]:
        """Take in a chunk's tokens, and end the utterances that end within it."""
        self._feature_frames += work.feature_frames
        places = self._places(result, work.end_samples)
        heard = self._heard_samples(work)
        voice = []
        if self._voice is not None:
            voice = self._voice.push(result.speech)
            heard = min(heard, self._voice.heard_samples)
        results: list[Result] = []
        if self._words is not None:
            self._words.hold(result.timing)
        taken = 0
        if work.is_cut_short:
            # The padding behind it is not the speaker's silence: it is one final, with the rest.
            self._endpointer.set_rules(None, from_samples=work.end_samples)
        for finding in self._endpointer.advance(places, voice, heard):
            if isinstance(finding, SpeechStart):
                results.append(SpeechEvent(SpeechEventKind.SPEECH_STARTED, finding.at_samples))
                continue
            self._extend(result, taken, finding.n_tokens)
            taken = finding.n_tokens
            seq = self._seq_at(finding.at_samples, work)
            if self._rules is not None and self._rules.is_hard and finding.cause in _IN_SILENCE:
                # What lies behind will be heard by a fresh model: as heard so far it is nothing.
                self._rewind_to = self._rewind_point(finding, seq)
                at_samples = self._rewind_to.at_samples
                return [*results, *self._conclude(finding, seq, resume_samples=at_samples)]
            results.extend(self._conclude(finding, seq, resume_samples=self._origin_samples))
        self._extend(result, taken, len(result.tokens))
        return results

    def _extend(self, result: StepResult, first: int, behind: int) -> None:
        tokens = result.tokens[first:behind]
        self._hypothesis.extend(tokens)
        if self._language_tags:
            said = [self._language_tags[token] for token in tokens if token in self._language_tags]
            self._language_code = said[-1] if said else self._language_code
        if self._words is not None:
            self._words.push(result, first, behind)

    def _shown_words(
        self, work: AudioWork, result: StepResult, text: str, stable_len: int
    ) -> tuple[Word, ...]:
        if self._words is None or self._word_detail is not WordDetail.PARTIALS:
            return ()
        return self._words.shown(
            result,
            is_chunk=isinstance(work, Chunk),
            text=text,
            stable_len=stable_len,
            end_samples=work.end_samples,
        )

    def _rewind_point(self, end: Endpoint, seq: int) -> RewindPoint:
        """Return where to hear again from: in the silence, before a word that may have begun."""
        silence = 0
        if end.cause is not FinalCause.END_TOKEN:
            since = end.speech_end_samples or self._origin_samples
            silence = max(0, end.at_samples - since) // 2
        lookback = min(silence, self._geometry.features.samples_of_ms(_LOOKBACK_MS))
        earliest = max(self._origin_samples, self._rules_from_samples)
        return RewindPoint(max(end.at_samples - lookback, earliest), seq)

    def _conclude(
        self, endpoint: Endpoint, seq: int, *, resume_samples: int, is_whole: bool = False
    ) -> list[Result]:
        results: list[Result] = []
        if endpoint.speech_end_samples is not None:
            # A detector hears whole windows, the last of them with the padding behind the audio.
            at = min(endpoint.speech_end_samples, endpoint.at_samples)
            results.append(SpeechEvent(SpeechEventKind.SPEECH_ENDED, at))
        text = self._hypothesis.finish()
        end = endpoint.at_samples
        words = () if self._words is None else self._words.finish(end)
        results.append(
            Final(
                text,
                seq,
                self._start_samples,
                end,
                endpoint.cause,
                words=words,
                confidence=utterance_confidence(words),
                resume_samples=resume_samples,
                language_code=self._language_code,
                frames=self._frames(None if is_whole else end),
            )
        )
        self._start(at_samples=end)
        return results

    def _frames(self, end_samples: int | None) -> FrameSpan:
        """Return the encoder frames from the utterance's start on, to a position or the last."""
        frame_samples = self._geometry.features.encoder_frame_samples
        first = -(-max(0, self._start_samples - self._origin_samples) // frame_samples)
        behind = None
        if end_samples is not None:
            behind = -(-(end_samples - self._origin_samples) // frame_samples)
        return FrameSpan(self._n_states, first, behind)

    def _seq_at(self, at_samples: int, work: Chunk) -> int:
        """Return the last message that ends by a position within a chunk (promise 2)."""
        seq = self._seq
        for end_samples, marked in work.marks:
            if end_samples <= at_samples:
                seq = marked
        return seq

    def _places(self, result: StepResult, end_samples: int) -> Sequence[TokenPlace]:
        return [
            TokenPlace(
                self._position(frame, end_samples),
                starts_word=self._detokenizer.starts_word(token),
                is_end=token in self._end_tokens,
            )
            for token, frame in zip(result.tokens, result.token_frames, strict=True)
        ]

    def _position(self, encoder_frame: int, end_samples: int) -> int:
        # A token may be emitted in the padding behind the audio: never later than what was heard.
        frame_samples = self._geometry.features.encoder_frame_samples
        return min(self._origin_samples + encoder_frame * frame_samples, end_samples)

    def _heard_samples(self, work: Chunk) -> int:
        """Return up to which position there is no other token than those found."""
        last_frame = self._decoded_frames(is_last=work.is_last) - 1
        return self._position(last_frame, work.end_samples)

    def _decoded_frames(self, *, is_last: bool) -> int:
        encoded = -(-self._feature_frames // self._geometry.features.subsampling)
        return encoded if is_last else max(0, encoded - self._geometry.right_frames)


def _voice_activity(rules: EndpointRules | None, geometry: ChunkGeometry) -> VoiceActivity | None:
    if rules is None or rules.detector is not EndpointDetector.VAD:
        return None
    features = geometry.features
    return VoiceActivity(
        rules.speech_threshold,
        min_speech_samples=features.samples_of_ms(rules.min_speech_ms),
        window_samples=features.voice_window_samples,
    )
