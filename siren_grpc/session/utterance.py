"""What the recognised tokens of one stream amount to: partials, events and finals."""

from __future__ import annotations

from siren_grpc.domain.geometry import FeatureGeometry
from siren_grpc.domain.types import (
    AudioWork,
    Chunk,
    DiscardUtterance,
    EndUtterance,
    Final,
    Partial,
    Result,
    SpeechEvent,
    SpeechEventKind,
    StepResult,
)
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.hypothesis import Hypothesis


class Utterance:
    """The current utterance of a stream. One per stream, restarted at each utterance's end."""

    def __init__(self, detokenizer: Detokenizer, features: FeatureGeometry) -> None:
        """Start the first utterance at the stream's first sample."""
        self._detokenizer = detokenizer
        self._features = features
        self._start(at_samples=0)

    def _start(self, *, at_samples: int) -> None:
        self._hypothesis = Hypothesis(self._detokenizer)
        self._start_samples = at_samples
        self._sent: tuple[str, int] = ("", 0)
        self._last_token_samples: int | None = None

    def advance(self, work: AudioWork, result: StepResult) -> list[Result]:
        """Take in what a step found in a chunk or preview; return what the client should see."""
        results: list[Result] = []
        if isinstance(work, Chunk):
            self._hypothesis.extend(result.tokens)
            results.extend(self._note_tokens(result, work.end_samples))
            text = self._hypothesis.previewed(result.tail)
        else:
            text = self._hypothesis.previewed(result.tokens)
        # Promise 1: only the text of whole chunks is stable; a preview or a right context may be
        # read otherwise once its chunk is complete.
        shown = (text, len(self._hypothesis.text))
        if shown != self._sent:
            self._sent = shown
            results.append(Partial(*shown, work.seq, work.end_samples))
        return results

    def finish(self, end: EndUtterance) -> list[Result]:
        """End the utterance with its one final (promise 4) and start the next."""
        results: list[Result] = []
        if self._last_token_samples is not None:
            results.append(SpeechEvent(SpeechEventKind.SPEECH_ENDED, self._last_token_samples))
        text = self._hypothesis.finish()
        results.append(Final(text, end.seq, self._start_samples, end.end_samples))
        self._start(at_samples=end.end_samples)
        return results

    def discard(self, discard: DiscardUtterance) -> None:
        """Forget the utterance and start the next."""
        self._start(at_samples=discard.end_samples)

    def _note_tokens(self, result: StepResult, end_samples: int) -> list[Result]:
        if not result.tokens:
            return []
        is_start = self._last_token_samples is None
        self._last_token_samples = self._position(result.token_frames[-1], end_samples)
        if not is_start:
            return []
        at_samples = self._position(result.token_frames[0], end_samples)
        return [SpeechEvent(SpeechEventKind.SPEECH_STARTED, at_samples)]

    def _position(self, encoder_frame: int, end_samples: int) -> int:
        # A token may be emitted in the padding behind the audio: never later than what was heard.
        at = self._start_samples + encoder_frame * self._features.encoder_frame_samples
        return min(at, end_samples)
