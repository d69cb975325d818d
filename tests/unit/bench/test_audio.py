from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from siren_grpc.bench.audio import DEMO, Speech, UnusableAudio, load_recordings, to_pcm


def test_the_demo_is_what_is_played_without_a_choice() -> None:
    (demo,) = load_recordings([], sample_rate_hertz=16000)
    assert 4 < len(demo) / 16000 < 8
    assert to_pcm(demo) == DEMO.read_bytes()[44:]


def test_a_file_that_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_text("not audio")
    with pytest.raises(UnusableAudio, match=r"notes\.wav"):
        load_recordings([path], sample_rate_hertz=16000)


def test_speech_repeats_by_seed_and_ends_in_silence() -> None:
    recordings = load_recordings([], sample_rate_hertz=16000)
    takes = [
        Speech(recordings, sample_rate_hertz=16000, seed=seed).take(200_000) for seed in (1, 1, 2)
    ]
    assert np.array_equal(takes[0], takes[1])
    assert not np.array_equal(takes[0], takes[2])
    assert not takes[0][-16000:].any()
    assert len(takes[0]) == 200_000


def test_recordings_and_pauses_alternate() -> None:
    recordings = load_recordings([], sample_rate_hertz=16000)
    speech = Speech(recordings, sample_rate_hertz=16000, seed=5)
    parts = [speech.next_part() for _ in range(6)]
    assert [is_pause for _, is_pause in parts] == [False, True] * 3
    assert all(samples.any() != is_pause for samples, is_pause in parts)
