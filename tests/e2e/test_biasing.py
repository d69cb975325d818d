"""Phrases through a real server: they are heard where they are said, and nobody else is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import grpc
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support.audio import Recording, shipped_recordings, spoken_digits
from tests.support.wire import FINALIZE, Wire, audio, config, every, failure

pytestmark = pytest.mark.e2e

COMMAND = next(r for r in shipped_recordings() if r.reference == "dial nine one one")
DIAL = pb.BiasingConfig(phrases=[pb.Phrase(text="Dial"), pb.Phrase(text="zorvath", boost=2)])


def heard(wire: Wire, recording: Recording, **fields: object) -> str:
    hertz = recording.sample_rate_hertz
    return wire.recognise(recording.pcm, sample_rate_hertz=hertz, **fields).text


@pytest.mark.parametrize("chunk_frames", [2, 7, 14])
def test_a_phrase_is_recognised_where_it_was_not(wire: Wire, chunk_frames: int) -> None:
    plain = heard(wire, COMMAND, chunk_frames=chunk_frames)
    assert plain != COMMAND.reference, "the default decoder hears it without: this proves nothing"
    found = heard(wire, COMMAND, chunk_frames=chunk_frames, biasing=DIAL)
    assert found == COMMAND.reference
    # Equal lists share a tree; it changes nothing.
    assert heard(wire, COMMAND, chunk_frames=chunk_frames, biasing=DIAL) == COMMAND.reference


@pytest.mark.parametrize("decoder", [pb.DECODER_CTC, pb.DECODER_RNNT])
def test_a_thousand_phrases_leave_other_speech_as_it_is(wire: Wire, decoder: int) -> None:
    syllables = "bor del fun gal hin kor lan mar nel por".split()
    names = ["".join(parts) for parts in product(syllables, repeat=3)]
    biasing = pb.BiasingConfig(phrases=[pb.Phrase(text=name) for name in names])
    assert len(names) == 1000
    for recording in spoken_digits():
        plain = heard(wire, recording, decoder=decoder)
        assert heard(wire, recording, decoder=decoder, biasing=biasing) == plain


def test_streams_at_once_have_their_own_phrases_and_others_none(wire: Wire) -> None:
    plain = heard(wire, COMMAND)
    lists = [pb.BiasingConfig(), DIAL] * 6

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda biasing: heard(wire, COMMAND, biasing=biasing), lists))
    assert found == [plain, COMMAND.reference] * 6


def test_phrases_hold_for_every_utterance_and_however_the_audio_is_cut(wire: Wire) -> None:
    requests = [config(sample_rate_hertz=COMMAND.sample_rate_hertz, biasing=DIAL)]
    for size in (len(COMMAND.pcm), 1000, 8001):
        requests += [audio(data) for data in every(size, COMMAND.pcm)]
        requests.append(FINALIZE)
    exchange = wire.exchange(requests)
    assert exchange.finals == [COMMAND.reference] * 3 + [""]
    for final_text, partials in zip(exchange.finals, _partials(exchange.responses), strict=True):
        stable = [partial.text[: partial.stable_len] for partial in partials]
        assert all(final_text.startswith(text) for text in stable)


@pytest.mark.parametrize(
    "state", [pb.EndpointingConfig.STATE_SOFT, pb.EndpointingConfig.STATE_HARD]
)
def test_phrases_hold_behind_endpoints(wire: Wire, state: int) -> None:
    hertz = COMMAND.sample_rate_hertz
    turns = (COMMAND.pcm + bytes(2 * 2 * hertz)) * 3
    found = [
        wire.recognise(
            turns,
            every(size, turns),
            sample_rate_hertz=hertz,
            biasing=DIAL,
            endpointing=pb.EndpointingConfig(state=state),
        ).finals
        for size in (3200, 25_001)
    ]
    assert found[0] == found[1]
    assert found[0][:3] == [COMMAND.reference] * 3
    assert not any(found[0][3:])


def _partials(
    responses: list[pb.StreamingRecognizeResponse],
) -> list[list[pb.PartialResult]]:
    found: list[list[pb.PartialResult]] = [[]]
    for response in responses:
        if response.WhichOneof("response") == "partial":
            found[-1].append(response.partial)
        elif response.WhichOneof("response") == "final":
            found.append([])
    return found[:-1]


def test_a_phrase_the_model_cannot_write_is_refused_and_the_slot_given_back(wire: Wire) -> None:
    biasing = pb.BiasingConfig(phrases=[pb.Phrase(text="nine"), pb.Phrase(text="route 66")])
    for _ in range(30):  # the server has 24 slots
        found = failure(wire.exchange([config(biasing=biasing)]).error)
        assert found.code is grpc.StatusCode.INVALID_ARGUMENT
        assert found.reason == "INVALID_CONFIG"
        assert found.fields == ("config.biasing.phrases[1].text",)
        assert "cannot write '6'" in found.message


def test_recordings_take_phrases_too(wire: Wire) -> None:
    wanted = pb.StreamingConfig(sample_rate_hertz=COMMAND.sample_rate_hertz, biasing=DIAL)
    request = pb.RecognizeRequest(config=wanted, audio=COMMAND.pcm)
    assert wire.stub.Recognize(request).results[0].text == COMMAND.reference


def test_models_say_which_decoders_take_phrases(wire: Wire) -> None:
    (model,) = wire.stub.ListModels(pb.ListModelsRequest()).models
    assert model.biasing_decoders == [pb.DECODER_CTC, pb.DECODER_RNNT]
