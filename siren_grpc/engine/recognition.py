"""What the outcomes of one stream's work mean for its client."""

from __future__ import annotations

from dataclasses import replace

from siren_grpc.domain.results import Final, Result, StreamEnded
from siren_grpc.domain.work import (
    DiscardUtterance,
    EndUtterance,
    Marker,
    Reconfigure,
    RestartState,
    StreamOptions,
    UsePhrases,
)
from siren_grpc.engine.messages import Failed, Recognised
from siren_grpc.session.utterance import RewindPoint, Utterance


class Recognition:
    """Builds results from outcomes, in the order of the work.

    Options count at two times: `is_hard` for what is submitted from now on; all else for what is
    heard behind the `Reconfigure` that brings them.
    """

    def __init__(self, utterance: Utterance, options: StreamOptions) -> None:
        """Start at the beginning of a stream."""
        self._utterance = utterance
        self._is_single = _is_single(options)
        self.configure(options)

    def configure(self, options: StreamOptions) -> None:
        """Take over options for the work that is submitted next."""
        self._is_hard = options.endpointing is not None and options.endpointing.is_hard

    @property
    def is_hard(self) -> bool:
        """Whether each chunk's outcome decides how the audio behind it is cut."""
        return self._is_hard

    @property
    def rewind_to(self) -> RewindPoint | None:
        """Where a fresh model is to start hearing: behind a hard endpoint, until it does."""
        return self._utterance.rewind_to

    def results_of(
        self, outcome: Recognised | Failed | Marker, *, heard_at: float | None
    ) -> list[Result]:
        """Return what the client should see, up to a single utterance's end.

        heard_at: when the newest audio came that the outcome heard, by `time.monotonic`.
        """
        results: list[Result] = []
        for result in self._results_of(outcome):
            if not isinstance(result, Final):
                results.append(result)
                continue
            results.append(replace(result, heard_at=heard_at))
            if self._is_single:
                results.append(StreamEnded())
                break
        return results

    def _results_of(self, outcome: Recognised | Failed | Marker) -> list[Result]:
        if isinstance(outcome, Recognised):
            return self._utterance.advance(outcome.work, outcome.result)
        if isinstance(outcome, EndUtterance):
            return self._utterance.finish(outcome)
        if isinstance(outcome, Reconfigure):
            # Not before: finals that were on their way are of the options before.
            self._is_single = _is_single(outcome.options)
            return self._utterance.reconfigure(outcome)
        if isinstance(outcome, DiscardUtterance):
            self._utterance.discard(outcome)
            return []
        if isinstance(outcome, RestartState):
            self._utterance.restart_state(outcome)
            return []
        if isinstance(outcome, UsePhrases):
            return []
        return [StreamEnded(outcome.error)]


def _is_single(options: StreamOptions) -> bool:
    return options.endpointing is not None and options.endpointing.is_single
