"""Where in a stream speech begins and utterances end: rules over tokens and voice, no audio."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from siren_grpc.domain.endpointing import EndpointDetector, EndpointRules, FinalCause
from siren_grpc.session.voice_activity import VoiceChange

_NO_RULES = EndpointRules(EndpointDetector.DECODER, min_silence_ms=None)


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """What the rules know of a token: where in the stream it was emitted, and what it is.

    starts_word: a new word may begin with it. is_end: the model says the speaker has finished.
    """

    at_samples: int
    starts_word: bool
    is_end: bool = False


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """The first speech of an utterance."""

    at_samples: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The utterance ends here; the next begins.

    n_tokens: how many of the chunk's tokens come before it. speech_end_samples: where its speech
    ended; None when there was none.
    """

    at_samples: int
    cause: FinalCause
    n_tokens: int
    speech_end_samples: int | None


Finding: TypeAlias = SpeechStart | Endpoint


class Endpointer:
    """Applies a stream's rules to one chunk after another.

    What it decides depends on the chunks alone, so on the audio alone (promise 3), and it decides
    within the chunk in which a rule first holds: at a position, not at the chunk's end.
    """

    def __init__(self, rules: EndpointRules | None, hertz: int, *, start_samples: int) -> None:
        """Begin with the utterance that starts at a position.

        rules: None for a stream whose utterances the client ends. hertz: of all sample counts.
        """
        self._hertz = hertz
        self._is_speaking = False  # the VAD's word for it
        self.set_rules(rules, from_samples=start_samples)
        self.restart(start_samples)

    def set_rules(self, rules: EndpointRules | None, *, from_samples: int) -> None:
        """Apply other rules from a position on; the utterance goes on.

        A silence that began before counts, but ends nothing before that position.
        """
        rules = rules or _NO_RULES
        self._rules_from = from_samples
        hertz = self._hertz

        def samples(milliseconds: int | None) -> int | None:
            return None if milliseconds is None else milliseconds * hertz // 1000

        self._min_silence = samples(rules.min_silence_ms)
        self._max_utterance = samples(rules.max_utterance_ms)
        self._no_speech = samples(rules.no_speech_ms)
        self._by_end_token = rules.detector is EndpointDetector.END_TOKEN
        self._by_voice = rules.detector is EndpointDetector.VAD

    def restart(self, at_samples: int) -> None:
        """Begin another utterance at a position."""
        self._start = at_samples
        self._speech_start = at_samples if self._is_speaking else None
        self._speech_end: int | None = None

    def silence(self, at_samples: int) -> None:
        """Take back that somebody speaks: the VAD starts afresh at a position."""
        if self._is_speaking and self._speech_end is None:
            self._speech_end = at_samples
        self._is_speaking = False

    def speech_end(self, until_samples: int) -> int | None:
        """Return where the speech of an utterance that ends at a position ended.

        That is the position itself if the VAD hears it go on there; None when there was none.
        """
        if self._speech_start is None:
            return None
        return until_samples if self._speech_end is None else self._speech_end

    def advance(
        self, tokens: Sequence[TokenPlace], voice: Iterable[VoiceChange], heard_samples: int
    ) -> list[Finding]:
        """Return what the next chunk holds, in order.

        tokens, voice: the chunk's, in order. heard_samples: the position up to which the chunk
        tells all there is; silence ends nothing beyond it.
        """
        findings: list[Finding] = []
        n_tokens = 0
        # A token and a change of voice at one place: the voice comes first.
        places: Iterable[VoiceChange | TokenPlace] = heapq.merge(voice, tokens, key=_position)
        for place in places:
            self._end_by_silence(findings, min(place.at_samples, heard_samples), n_tokens)
            if isinstance(place, TokenPlace):
                self._take_token(findings, place, n_tokens)
                n_tokens += 1
            else:
                self._take_voice(findings, place)
        self._end_by_silence(findings, heard_samples, n_tokens)
        return findings

    def _take_token(self, findings: list[Finding], token: TokenPlace, n_before: int) -> None:
        if token.is_end:
            if self._by_end_token:
                self._end(findings, token.at_samples, FinalCause.END_TOKEN, n_before + 1)
            return
        if token.starts_word and self._is_overlong(token.at_samples):
            self._end(findings, token.at_samples, FinalCause.MAX_UTTERANCE, n_before)
        # A word the VAD did not hear, or whose token came late, is speech all the same.
        if not self._by_voice or self._speech_start is None:
            self._note_speech(findings, token.at_samples)
            self._speech_end = token.at_samples

    def _take_voice(self, findings: list[Finding], change: VoiceChange) -> None:
        self._is_speaking = change.is_speech
        if change.is_speech:
            self._note_speech(findings, max(change.at_samples, self._start))
            self._speech_end = None
        else:
            self._speech_end = max(change.at_samples, self._start)

    def _note_speech(self, findings: list[Finding], at_samples: int) -> None:
        if self._speech_start is None:
            self._speech_start = at_samples
            findings.append(SpeechStart(at_samples))

    def _is_overlong(self, at_samples: int) -> bool:
        if self._max_utterance is None or self._speech_start is None:
            return False
        return at_samples >= self._speech_start + self._max_utterance

    def _end_by_silence(self, findings: list[Finding], until_samples: int, n_tokens: int) -> None:
        while True:
            due, cause = self._due()
            if due is None or due > until_samples:
                return
            self._end(findings, due, cause, n_tokens)

    def _due(self) -> tuple[int | None, FinalCause]:
        """Return where the utterance ends if nothing is said until then, and why."""
        since, cause, lasts = self._start, FinalCause.NO_SPEECH, self._no_speech
        if self._speech_start is not None:
            if self._speech_end is None:
                return None, FinalCause.SILENCE
            since, cause, lasts = self._speech_end, FinalCause.SILENCE, self._min_silence
        return None if lasts is None else max(since + lasts, self._rules_from), cause

    def _end(
        self, findings: list[Finding], at_samples: int, cause: FinalCause, n_tokens: int
    ) -> None:
        findings.append(Endpoint(at_samples, cause, n_tokens, self.speech_end(at_samples)))
        self.restart(at_samples)
        if self._speech_start is not None:
            findings.append(SpeechStart(at_samples))


def _position(place: VoiceChange | TokenPlace) -> int:
    return place.at_samples
