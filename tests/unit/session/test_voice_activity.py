from __future__ import annotations

from siren_grpc.session.voice_activity import VoiceActivity, VoiceChange


def make_voice(min_speech_samples: int = 0) -> VoiceActivity:
    return VoiceActivity(0.5, min_speech_samples=min_speech_samples, window_samples=512)


def test_speech_begins_at_the_threshold_and_ends_well_below_it() -> None:
    voice = make_voice()
    assert voice.push([0.1, 0.49, 0.5, 0.4, 0.36, 0.34, 0.4]) == [
        VoiceChange(2 * 512, is_speech=True),
        VoiceChange(5 * 512, is_speech=False),
    ]
    assert voice.heard_samples == 7 * 512


def test_a_short_burst_is_not_speech_and_a_long_one_begins_where_it_rose() -> None:
    voice = make_voice(min_speech_samples=1500)
    assert voice.push([0.9, 0.9, 0.1]) == []
    assert voice.push([0.9, 0.9]) == []
    assert voice.push([0.9]) == [VoiceChange(3 * 512, is_speech=True)]


def test_a_restart_is_silence_at_its_position() -> None:
    voice = make_voice()
    voice.push([0.9, 0.9])
    voice.restart(16_000)
    assert voice.heard_samples == 16_000
    assert voice.push([0.1, 0.9]) == [VoiceChange(16_512, is_speech=True)]
