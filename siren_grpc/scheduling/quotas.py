"""What each principal has used of its quota. Pure: time comes in as an argument."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from siren_grpc.domain.errors import QuotaExceeded
from siren_grpc.domain.principal import Caller
from siren_grpc.scheduling.plan import SessionId

HOUR_S, DAY_S = 3600.0, 86400.0
_PARTS = 60
"""A window is forgotten in so many steps: by the minute of an hour, by 24 minutes of a day."""
_LEAST_RETRY_S = 1.0
_CLEAN_EVERY_S = 60.0


class RollingSum:
    """How much came in the last `window_s` seconds, or a sixtieth more: it never forgets early."""

    def __init__(self, window_s: float) -> None:
        """Start at nothing."""
        self._window_s = window_s
        self._part_s = window_s / _PARTS
        self._parts: deque[tuple[int, float]] = deque()
        """(number of the part of time, what came in it), ascending."""
        self._total = 0.0

    def add(self, amount: float, now: float) -> None:
        """Count an amount at a time, which never goes back."""
        self._forget(now)
        number = int(now // self._part_s)
        self._total += amount
        if self._parts and self._parts[-1][0] == number:
            amount += self._parts.pop()[1]
        self._parts.append((number, amount))

    def total(self, now: float) -> float:
        """Return what counts at a time."""
        self._forget(now)
        return self._total

    def falls_below_in_s(self, limit: float, now: float) -> float:
        """Return after how many seconds less than a limit counts, if nothing comes meanwhile."""
        left = self.total(now)
        wait_s = 0.0
        for number, amount in self._parts:
            if left < limit:
                break
            left -= amount
            wait_s = self._counts_until(number) - now
        return wait_s

    def _counts_until(self, number: int) -> float:
        return (number + 1) * self._part_s + self._window_s

    def _forget(self, now: float) -> None:
        is_changed = False
        while self._parts and self._counts_until(self._parts[0][0]) <= now:
            self._parts.popleft()
            is_changed = True
        if is_changed:  # summed anew: no error of rounding stays
            self._total = sum(amount for _, amount in self._parts)


@dataclass(slots=True)
class _Account:
    n_sessions: int = 0
    hour: RollingSum = field(default_factory=lambda: RollingSum(HOUR_S))
    day: RollingSum = field(default_factory=lambda: RollingSum(DAY_S))


@dataclass(slots=True)
class _Metered:
    caller: Caller
    account: _Account
    heard_samples: int = 0
    """Where in the stream its audio has been counted up to: what is sent anew counts once."""
    is_over: bool = False


class QuotaLedger:
    """Counts the sessions and the audio of every principal with a quota, whatever its model.

    What a principal used is kept while any of it counts. Those without a quota cost nothing.
    """

    def __init__(self) -> None:
        """Start with nothing used."""
        self._accounts: dict[str, _Account] = {}
        self._metered: dict[SessionId, _Metered] = {}
        self._clean_at = float("-inf")

    def refusal(self, caller: Caller, now: float, *, n_leaving: int = 0) -> QuotaExceeded | None:
        """Return why a principal may not open a session, None if it may.

        n_leaving: sessions, of whomever, that are about to close: they do not count.
        """
        if caller.quota.is_unlimited:
            return None
        account = self._accounts.get(caller.principal.name)
        if account is None:
            account = _Account()
        most = caller.quota.sessions
        if most is not None and max(0, account.n_sessions - n_leaving) >= most:
            return _exceeded(caller, f"sessions at once, {most}", "end one", _LEAST_RETRY_S)
        return _audio_refusal(caller, account, now)

    def open(self, session_id: SessionId, caller: Caller, now: float) -> None:
        """Count a session from now on, until it is closed."""
        if caller.quota.is_unlimited:
            return
        self._forget_unused(now)
        account = self._accounts.setdefault(caller.principal.name, _Account())
        account.n_sessions += 1
        self._metered[session_id] = _Metered(caller, account)

    def counts(self, session_id: SessionId) -> bool:
        """Whether there is anything to count of a session."""
        return session_id in self._metered

    def charge(
        self, session_id: SessionId, end_samples: int, hertz: int, now: float
    ) -> QuotaExceeded | None:
        """Count a session's audio up to a place in its stream.

        end_samples: the place, in samples of the model's rate. Returns why the session must end,
        once, when that was too much.
        """
        metered = self._metered.get(session_id)
        if metered is None or end_samples <= metered.heard_samples:
            return None
        quota, account = metered.caller.quota, metered.account
        amount = (end_samples - metered.heard_samples) / hertz
        metered.heard_samples = end_samples
        account.hour.add(amount, now)
        account.day.add(amount, now)
        if metered.is_over or (quota.audio_s_per_hour is None and quota.audio_s_per_day is None):
            return None
        refusal = _audio_refusal(metered.caller, account, now)
        metered.is_over = refusal is not None
        return refusal

    def close(self, session_id: SessionId) -> None:
        """Take a session off the count; harmless for one that is not on it."""
        metered = self._metered.pop(session_id, None)
        if metered is not None:
            metered.account.n_sessions -= 1

    def _forget_unused(self, now: float) -> None:
        if now < self._clean_at:
            return
        self._clean_at = now + _CLEAN_EVERY_S
        unused = [
            name
            for name, account in self._accounts.items()
            if account.n_sessions == 0 and account.day.total(now) == 0.0
        ]
        for name in unused:
            del self._accounts[name]


def _audio_refusal(caller: Caller, account: _Account, now: float) -> QuotaExceeded | None:
    """Return what is against a caller's next audio: of two quotas, what takes longer to pass."""
    exceeded = [
        (max(_LEAST_RETRY_S, used.falls_below_in_s(most, now)), period, most)
        for most, used, period in (
            (caller.quota.audio_s_per_hour, account.hour, "an hour"),
            (caller.quota.audio_s_per_day, account.day, "a day"),
        )
        if most is not None and used.total(now) >= most
    ]
    if not exceeded:
        return None
    retry_after_s, period, most = max(exceeded)
    what = f"seconds of audio in {period}, {most:g}"
    return _exceeded(caller, what, "come back later", retry_after_s)


def _exceeded(caller: Caller, what: str, remedy: str, retry_after_s: float) -> QuotaExceeded:
    quota = caller.quota
    said = f"the quota of {caller.principal.name} is reached: {what};"
    if 0 in (quota.sessions, quota.audio_s_per_hour, quota.audio_s_per_day):
        return QuotaExceeded(f"{said} ask the operator for more")  # waiting brings nothing
    return QuotaExceeded(
        f"{said} {remedy}, or ask the operator for more", retry_after_s=retry_after_s
    )
