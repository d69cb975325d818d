"""Where in the stream the words of an utterance are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from siren_grpc.domain.results import Word
from siren_grpc.domain.step import StepResult, StepTiming, TokenTiming
from siren_grpc.text.detokenizer import Detokenizer
from siren_grpc.text.words import TextWord, TimedToken, WordSequence

MOST_WORDS_OF_PARTIALS = 256
"""Words a partial lists at most: an utterance of an hour would make each partial a megabyte."""


class WordTimes:
    """The words of the current utterance, on the stream's time line.

    Positions are whole numbers of samples, counted from where the decoder's frame 0 lies in the
    stream, so nothing adds up over a long stream. Words follow one another: none begins before
    the one ahead of it has, or reaches into the one behind it, or beyond the audio.
    """

    def __init__(self, detokenizer: Detokenizer, frame_samples: int) -> None:
        """Start at the stream's first sample. frame_samples: what an encoder frame advances."""
        self._detokenizer = detokenizer
        self._frame_samples = frame_samples
        self._origin_samples = 0
        self.start(at_samples=0)

    def start(self, *, at_samples: int) -> None:
        """Start another utterance; no word of it begins before this."""
        self._words = WordSequence(self._detokenizer)
        self._start_samples = at_samples

    def set_origin(self, at_samples: int) -> None:
        """Say where in the stream the frames that follow are counted from."""
        self._origin_samples = at_samples

    def hold(self, timing: StepTiming | None) -> None:
        """Take in how long a step still held the last token, before its own tokens are pushed."""
        if timing is not None and timing.held.ends:
            self._words.prolong(self._at(timing.held.ends[0]), timing.held.confidences[0])

    def push(self, result: StepResult, first: int, behind: int) -> None:
        """Add the tokens of a step from `first` to before `behind`."""
        for token in self._tokens(result)[first:behind]:
            self._words.push(token)

    def finish(self, end_samples: int) -> tuple[Word, ...]:
        """Return the words of the utterance, which ends here; all of them are stable."""
        return self._placed(self._words.finish(), end_samples, n_unstable=0)

    def shown(
        self, result: StepResult, *, is_chunk: bool, text: str, stable_len: int, end_samples: int
    ) -> tuple[Word, ...]:
        """Return the last words of a partial.

        is_chunk: the result's tokens were pushed, its tail follows them; else the tokens do.
        text, stable_len, end_samples: of the partial.
        """
        beyond = self._tail(result) if is_chunk else self._tokens(result)
        words = self._words.last(MOST_WORDS_OF_PARTIALS, beyond)
        n_unstable = len(text[stable_len:].split())
        return self._placed(words, end_samples, n_unstable=n_unstable)

    def _tokens(self, result: StepResult) -> list[TimedToken]:
        timing = TokenTiming() if result.timing is None else result.timing.tokens
        return self._timed(result.tokens, result.token_frames, timing)

    def _tail(self, result: StepResult) -> list[TimedToken]:
        if result.timing is None:
            return []
        return self._timed(result.tail, result.timing.tail_frames, result.timing.tail)

    def _timed(
        self, tokens: Iterable[int], frames: Iterable[int], timing: TokenTiming
    ) -> list[TimedToken]:
        return [
            TimedToken(
                token, self._at(frame), self._at(frame + 1 if end is None else end), certainty
            )
            for token, frame, end, certainty in zip_longest(
                tokens, frames, timing.ends, timing.confidences
            )
        ]

    def _at(self, frame: int) -> int:
        return self._origin_samples + frame * self._frame_samples

    def _placed(
        self, words: Sequence[TextWord], end_samples: int, *, n_unstable: int
    ) -> tuple[Word, ...]:
        placed: list[Word] = []
        behind = end_samples
        n_stable = len(words) - n_unstable
        for i in reversed(range(len(words))):
            word = words[i]
            start = min(max(word.start, self._start_samples), behind)
            end = min(max(word.end, start), behind)
            placed.append(Word(word.text, start, end, word.confidence, i < n_stable))
            behind = start
        return tuple(reversed(placed))


def utterance_confidence(words: Sequence[Word]) -> float | None:
    """Return the mean confidence of an utterance's words; None without one that is known."""
    known = [word.confidence for word in words if word.confidence is not None]
    return sum(known) / len(known) if known else None
