from __future__ import annotations

import pytest

from siren_grpc.observe.processes import ProcessUse
from siren_grpc.soak.known_words import Word
from siren_grpc.soak.long_stream_audit import LongStreamAudit, LongStreamReport
from siren_grpc.soak.process_counts import ProcessCounts

WINDOW_S = 60.0
HOURS_S = 12_000.0
SILENCE_S = (4800.0, 7200.0)


def play(
    *,
    grows: float = 0.0,
    slower: float = 0.0,
    late_s: float = 0.0,
    lost_behind: int = 0,
    in_silence: int = 0,
    known_every_s: int = 1,
    heard_every: int = 1,
    audits_until_s: float = HOURS_S,
) -> LongStreamReport:
    """Play a stream of a word a second, whose server and words change behind the silence.

    known_every_s: seconds between two words. heard_every: the first of so many words is heard.
    """
    audit = LongStreamAudit(SILENCE_S, window_s=WINDOW_S)
    audit.note_silence(SILENCE_S[0])
    steps = step_s = cpu_s = 0.0
    for at in range(0, int(HOURS_S), int(WINDOW_S)):
        is_behind = at >= SILENCE_S[1]
        steps, step_s = steps + 100, step_s + 100 * (0.005 + slower * is_behind)
        cpu_s += 100 * (0.004 + slower * is_behind)
        rss = int(2**30 * (1 + grows * is_behind))
        counts = [
            ProcessCounts("engine", {}, ProcessUse(2 * rss, rss, 10, 30, cpu_s)),
            ProcessCounts("front end 1", {"steps": 0}, ProcessUse(2**27, 2**26, 10, 9, 1)),
            ProcessCounts(
                "front end 2",
                {"steps": steps, "step_s": step_s},
                ProcessUse(2**27, 2**26, 10, 9, 1),
            ),
        ]
        told = audit.note_processes(counts, float(at)) if at < audits_until_s else {}
        if 0 < at < audits_until_s:
            assert told["steps"] == 100
            assert told["step_ms"] == pytest.approx(1000 * (0.005 + slower * is_behind))
        times = [t for t in range(at, at + int(WINDOW_S)) if t % known_every_s == 0]
        known = [Word("one", float(t)) for t in times if not SILENCE_S[0] <= t < SILENCE_S[1]]
        audit.expect(known)
        audit.hear(
            [
                Word("one", word.start_s + late_s * is_behind)
                for i, word in enumerate(known)
                if (not is_behind or i >= lost_behind) and i % heard_every == 0
            ]
        )
        if at <= 6000 < at + WINDOW_S:
            audit.hear([Word("ghost", 6000.0)] * in_silence)
        audit.look_up(at + WINDOW_S)
    report = LongStreamReport(audio_s=HOURS_S)
    audit.judge(report, memory_percent=1.0, step_percent=10.0)
    return report


def test_a_stream_that_stays_as_it_is_passes():
    report = play()
    assert report.faults == []
    assert report.as_json()["words"]["before the silence"] == {
        **{"known": 4800, "heard": 4800, "found": 4800},
        "median_error_s": 0.0,
    }
    assert set(report.growth_percent) == {
        *("memory of the engine", "memory of the front end 1", "memory of the front end 2"),
        *("step", "CPU time of a step"),
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"grows": 0.02}, ["memory of the engine grew by 2.00 %"]),
        ({"slower": 0.001}, ["step grew by 20.00 %", "CPU time of a step grew by 25.00 %"]),
        ({"in_silence": 2}, ["2 words were heard in the silence"]),
        (
            {"lost_behind": 12},
            [
                "behind the silence 80.0% of the words were found, before it 100.0%",
                "after the silence 80.0% of the words were found, before it 100.0%",
            ],
        ),
    ],
)
def test_what_changes_is_told(change, told):
    assert play(**change).faults == told


def test_words_that_come_late_are_told():
    faults = play(late_s=0.1).faults
    assert faults
    assert all("are off by +0.100 s" in fault for fault in faults)


def test_a_server_that_hears_nothing_does_not_pass():
    assert play(known_every_s=20_000).faults == [
        "1 words were played before the silence, by what was heard of the recordings alone: 10 are "
        "needed"
    ]
    assert play(heard_every=3).faults == [
        "before the silence 33.3% of the words were found: 50% are due"
    ]


@pytest.mark.parametrize("audits_until_s", [0.0, 600.0, 660.0])
def test_what_was_not_measured_has_not_passed(audits_until_s: float):
    faults = play(audits_until_s=audits_until_s).faults
    assert faults
    assert all("was not measured: fewer than two audits" in fault for fault in faults)
    assert any("memory" in fault for fault in faults)
    assert any("step" in fault for fault in faults)
