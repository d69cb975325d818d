from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.domain.principal import ANONYMOUS_CALLER, Caller, Principal, Quota
from siren_grpc.scheduling.quotas import DAY_S, HOUR_S, QuotaLedger, RollingSum

HERTZ = 16000


def phone(**quota: float) -> Caller:
    return Caller(Principal("phone"), Quota(**quota))  # type: ignore[arg-type]


def test_sessions_are_counted_until_they_close() -> None:
    ledger, caller = QuotaLedger(), phone(sessions=2)
    for session_id in (1, 2):
        assert ledger.refusal(caller, 0.0) is None
        ledger.open(session_id, caller, 0.0)
    refusal = ledger.refusal(caller, 0.0)
    assert refusal is not None
    assert "quota of phone is reached: sessions at once, 2" in refusal.message
    assert refusal.retry_after_s is not None
    ledger.close(1)
    ledger.close(1)  # harmless
    assert ledger.refusal(caller, 0.0) is None
    ledger.open(3, caller, 0.0)
    assert ledger.refusal(caller, 0.0) is not None
    assert ledger.refusal(Caller(Principal("laptop"), caller.quota), 0.0) is None


def test_who_may_be_leaving_does_not_count() -> None:
    ledger, caller = QuotaLedger(), phone(sessions=2)
    for session_id in (1, 2, 3):
        ledger.open(session_id, phone(sessions=3), 0.0)
    assert ledger.refusal(caller, 0.0, n_leaving=1) is not None
    assert ledger.refusal(caller, 0.0, n_leaving=2) is None
    assert ledger.refusal(phone(sessions=0), 0.0, n_leaving=9) is not None
    ledger.charge(1, HERTZ, HERTZ, 0.0)
    audio = phone(audio_s_per_hour=1)
    assert ledger.refusal(audio, 0.0, n_leaving=9) is not None, "what was heard stays"


def test_nothing_at_all_can_be_granted() -> None:
    ledger = QuotaLedger()
    for quota in ({"sessions": 0}, {"audio_s_per_hour": 0}, {"audio_s_per_day": 0}):
        refusal = ledger.refusal(phone(**quota), 0.0)
        assert refusal is not None
        assert refusal.retry_after_s is None, "no retry can help"
        assert "; ask the operator" in refusal.message


def test_nobody_is_told_to_come_back_at_once() -> None:
    ledger, caller = QuotaLedger(), phone(audio_s_per_hour=1)
    ledger.open(1, caller, 0.0)
    ledger.charge(1, HERTZ, HERTZ, 0.0)
    refusal = ledger.refusal(caller, HOUR_S * 61 / 60 - 0.01)
    assert refusal is not None
    assert refusal.retry_after_s == 1.0


def test_audio_ends_a_session_once_and_refuses_others_until_it_counts_no_more() -> None:
    ledger, caller = QuotaLedger(), phone(audio_s_per_hour=60)
    ledger.open(1, caller, 0.0)
    assert ledger.charge(1, 59 * HERTZ, HERTZ, 59.0) is None
    refusal = ledger.charge(1, 60 * HERTZ, HERTZ, 60.0)
    assert refusal is not None
    assert "seconds of audio in an hour, 60" in refusal.message
    assert ledger.charge(1, 61 * HERTZ, HERTZ, 61.0) is None, "it was told already"
    ledger.close(1)
    later = ledger.refusal(caller, 61.0)
    assert later is not None
    assert later.retry_after_s is not None
    assert ledger.refusal(caller, 61.0 + later.retry_after_s - 1) is not None
    assert ledger.refusal(caller, 61.0 + later.retry_after_s) is None


def test_of_two_quotas_that_are_spent_the_one_that_lasts_is_told() -> None:
    """Who came back after the other would be refused again."""
    ledger, caller = QuotaLedger(), phone(audio_s_per_hour=60, audio_s_per_day=60)
    ledger.open(1, caller, 0.0)
    told = ledger.charge(1, 60 * HERTZ, HERTZ, 60.0)
    later = ledger.refusal(caller, 60.0)
    for refusal in (told, later):
        assert refusal is not None
        assert "seconds of audio in a day, 60" in refusal.message
        assert refusal.retry_after_s is not None
        assert refusal.retry_after_s > 23 * HOUR_S


def test_audio_sent_anew_counts_once() -> None:
    ledger, caller = QuotaLedger(), phone(audio_s_per_day=10)
    ledger.open(1, caller, 0.0)
    for end_s in (4, 2, 4, 9):  # a rewind behind a hard endpoint
        assert ledger.charge(1, end_s * HERTZ, HERTZ, 1.0) is None
    assert ledger.charge(1, 10 * HERTZ, HERTZ, 1.0) is not None


def test_tokens_of_a_name_share_what_it_used() -> None:
    ledger = QuotaLedger()
    ledger.open(1, phone(sessions=5), 0.0)
    assert ledger.refusal(phone(sessions=1), 0.0) is not None


def test_who_has_no_quota_is_not_counted() -> None:
    ledger = QuotaLedger()
    ledger.open(1, ANONYMOUS_CALLER, 0.0)
    assert not ledger.counts(1)
    assert ledger.charge(1, 1 << 40, HERTZ, 0.0) is None
    ledger.close(1)


def test_what_is_over_is_forgotten() -> None:
    ledger = QuotaLedger()
    for number in range(100):
        caller = Caller(Principal(f"jwt:{number}"), Quota(audio_s_per_day=5))
        ledger.open(number, caller, 0.0)
        ledger.charge(number, HERTZ, HERTZ, 0.0)
        ledger.close(number)
    ledger.open(1000, phone(sessions=1), 2 * DAY_S)
    assert list(ledger._accounts) == ["phone"]


amounts = st.lists(
    st.tuples(st.floats(0, 600), st.floats(0, 100)), min_size=1, max_size=60
)  # (seconds since the last, amount)


@given(amounts, st.floats(1, 300))
def test_a_rolling_sum_holds_its_window_and_says_when_it_falls(
    steps: list[tuple[float, float]], limit: float
) -> None:
    rolling, now = RollingSum(HOUR_S), 1e6
    came: list[tuple[float, float]] = []
    for wait_s, amount in steps:
        now += wait_s
        rolling.add(amount, now)
        came.append((now, amount))
    exact = sum(amount for at, amount in came if at > now - HOUR_S)
    within = sum(amount for at, amount in came if at > now - HOUR_S * 61 / 60)
    assert exact - 1e-6 <= rolling.total(now) <= within + 1e-6
    wait_s = rolling.falls_below_in_s(limit, now)
    assert (wait_s == 0) == (rolling.total(now) < limit)
    assert rolling.total(now + wait_s) < limit + 1e-6
    if wait_s > 1:
        fresh = RollingSum(HOUR_S)
        for at, amount in came:
            fresh.add(amount, at)
        assert fresh.total(now + wait_s - 1) >= limit - 1e-6


def test_audio_that_is_sent_anew_counts_once() -> None:
    ledger, caller = QuotaLedger(), phone(audio_s_per_hour=2)
    ledger.open(1, caller, 0.0)
    for _ in range(5):
        assert ledger.charge(1, HERTZ, HERTZ, 0.0) is None
    assert ledger.refusal(caller, 0.0) is None
    assert ledger.charge(1, 2 * HERTZ, HERTZ, 0.0) is not None


def test_what_was_heard_counts_though_nobody_is_there_any_more() -> None:
    ledger, caller = QuotaLedger(), phone(audio_s_per_hour=1)
    ledger.open(1, caller, 0.0)
    ledger.charge(1, HERTZ, HERTZ, 0.0)
    ledger.close(1)
    for now in range(0, 3000, 100):  # accounts are looked through now and then
        ledger.open(2, phone(sessions=9), float(now))
        ledger.close(2)
    ledger.open(3, Caller(Principal("laptop"), Quota(sessions=1)), 3000.0)
    ledger.close(3)
    assert ledger.refusal(caller, 3001.0) is not None
