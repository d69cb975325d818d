"""Alternatives of real speech through a real server."""

from __future__ import annotations

import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import shipped_recordings
from tests.support.wire import END, FINALIZE, Wire, audio, config, every, failure

pytestmark = pytest.mark.e2e

HERTZ = 16000
DECODERS = [pb.DECODER_RNNT, pb.DECODER_CTC]
SILENCE = bytes(2 * HERTZ)


def speech(n: int) -> list[bytes]:
    return [r.pcm for r in shipped_recordings() if r.sample_rate_hertz == HERTZ][:n]


def finals(wire: Wire, *messages: object, **fields: object) -> list[pb.FinalResult]:
    exchange = wire.exchange([config(**fields), *messages, END])
    assert exchange.error is None
    return exchange.of("final")


@pytest.mark.parametrize("decoder", DECODERS)
def test_each_utterance_has_its_own(wire: Wire, decoder: int) -> None:
    spoken = speech(3)
    alone = [finals(wire, audio(pcm), decoder=decoder, max_alternatives=4)[0] for pcm in spoken]
    messages = [m for pcm in spoken for m in (audio(pcm), FINALIZE)]
    together = finals(wire, *messages, decoder=decoder, max_alternatives=4)
    plain = finals(wire, *messages, decoder=decoder)
    assert [final.text for final in together] == [final.text for final in plain]
    assert not any(final.alternatives for final in plain)
    for one, other in zip(alone, together, strict=False):
        assert [(a.text, a.probability) for a in one.alternatives] == [
            (a.text, a.probability) for a in other.alternatives
        ]
        texts = [a.text for a in one.alternatives]
        assert 1 <= len(texts) <= 4
        assert len({one.text, "", *texts}) == len(texts) + 2
        chances = [a.probability for a in one.alternatives]
        assert chances == sorted(chances, reverse=True)
        assert 0 <= sum(chances) <= 1 + 1e-5
    assert not together[-1].text
    assert not together[-1].alternatives


@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
def test_endpoints_within_a_stream_find_theirs_however_it_is_cut(wire: Wire, state: str) -> None:
    pcm = SILENCE.join(speech(3)) + SILENCE
    options = {
        "max_alternatives": 3,
        "decoder": pb.DECODER_CTC,
        "endpointing": pb.EndpointingConfig(
            min_silence_ms=500, state=pb.EndpointingConfig.State.Value(state)
        ),
    }
    ways = [
        finals(wire, *(audio(part) for part in every(size, pcm)), **options)
        for size in (len(pcm), 3200)
    ]
    said = [[(final.text, [a.text for a in final.alternatives]) for final in way] for way in ways]
    assert said[0] == said[1]
    assert sum(bool(others) for _, others in said[0]) >= 3
    assert all(others for text, others in said[0] if text)


def test_a_recording_has_them_too(wire: Wire) -> None:
    response = wire.stub.Recognize(
        pb.RecognizeRequest(config=pb.StreamingConfig(max_alternatives=2), audio=speech(1)[0])
    )
    assert 1 <= len(response.results[0].alternatives) <= 2


@pytest.mark.parametrize("number", [-1, 11])
def test_a_number_out_of_range_is_refused(wire: Wire, number: int) -> None:
    refused = failure(wire.exchange([config(max_alternatives=number)]).error)
    assert refused.reason == "INVALID_CONFIG"
    assert refused.fields == ("config.max_alternatives",)
    assert "0 (none) to 10" in refused.message
