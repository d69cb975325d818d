"""Whether a session may start now. Pure: time comes in as an argument."""

from __future__ import annotations

from siren_grpc.domain.errors import Overloaded, RefusalCause
from siren_grpc.scheduling.load import Load

_RETRY_AFTER_S = 1.0
_MEMORY_PAUSE_S = 10.0
"""How long no session starts after a single one found no memory, in a step or for its slot."""
_BEHIND_S = 2.0
"""How late steps may end before no session starts: those that run would only be later still."""
_CATCH_UP_S = 2.0
"""For how long, counted from the last late step."""
_TOO_MUCH_S = 1.0
_LIVE_ONLY = 8
"""One in so many slots is kept for live sessions."""


class Admission:
    """Refuses sessions that the device could not serve in time, or at all."""

    def __init__(self, load: Load | None = None) -> None:
        """Start with nothing against anybody. load: bounds the live sessions by what they cost."""
        self.load = load or Load(max_load=0)
        self._no_memory_until = float("-inf")
        self._behind_until = float("-inf")

    def note_no_memory(self, now: float) -> None:
        """Take note that even a single session found no memory."""
        self._no_memory_until = now + _MEMORY_PAUSE_S

    def note_late(self, late_s: float, now: float) -> None:
        """Take note of how long behind its deadline a step ended; negative when in time.

        The floor below `load`, which may be unbounded and says nothing of recordings.
        """
        if late_s > _BEHIND_S:
            self._behind_until = now + _CATCH_UP_S

    def refusal(
        self, model: str, *, n_slots: int, n_free: int, now: float, is_live: bool = True
    ) -> Overloaded | None:
        """Return why a session of a model may not start, None if it may.

        n_slots: sessions the model holds at once. n_free: those of them that are free. is_live:
        False for a recording, which leaves the last slots to live sessions. Changes nothing;
        whether there is time for one more live session, `load` says then.
        """
        if now < self._no_memory_until:
            return no_memory()
        if now < self._behind_until:
            return Overloaded(
                "recognition has fallen behind real time; try again shortly or on another replica",
                retry_after_s=_CATCH_UP_S,
            ).because(RefusalCause.BEHIND)
        if is_live and self.load.is_late(now):
            return too_much()
        if n_free == 0:
            return Overloaded(
                f"all {n_slots} sessions of model {model} are taken; "
                "try again shortly or on another replica",
                retry_after_s=_RETRY_AFTER_S,
            ).because(RefusalCause.SESSIONS)
        if not is_live and n_free <= n_slots // _LIVE_ONLY:
            return Overloaded(
                f"the sessions of model {model} that are left are kept for live streams; "
                "try again shortly or on another replica",
                retry_after_s=_RETRY_AFTER_S,
            ).because(RefusalCause.LIVE_ONLY)
        return None


def no_memory() -> Overloaded:
    """Return what a session is refused with, or ends with, for which there is no memory."""
    return Overloaded(
        "the server's device is out of memory; try again shortly or on another replica",
        retry_after_s=_MEMORY_PAUSE_S,
    ).because(RefusalCause.MEMORY)


def too_much() -> Overloaded:
    """Return what a session is refused with that would make the others late."""
    return Overloaded(
        "the server has no time for one more stream without making those it has late; "
        "try again shortly or on another replica",
        retry_after_s=_TOO_MUCH_S,
    ).because(RefusalCause.TOO_MUCH)
