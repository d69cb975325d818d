"""Text options through a real server: the words, and the promises, are those of the audio."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.text.options import TextOptions
from siren_grpc.text.spoken_form import SpokenForm
from tests.e2e.test_promises import assert_promises, random_stream
from tests.e2e.test_turns import conversation
from tests.support.audio import Recording, spoken_digits
from tests.support.checkpoints import build_nemotron
from tests.support.programs import needs_module
from tests.support.server import serving
from tests.support.sounds import babble
from tests.support.wire import RESET, Wire, cut, failure

pytestmark = pytest.mark.e2e

ITN = pb.TextOptions(inverse_text_normalization=True)
VERBATIM = pb.TextOptions(lower_case=True, masked_words=["five", "seven", "zero", "Oh"])
SPOKEN = spoken_digits()


@pytest.fixture
def needs_itn() -> None:
    needs_module("nemo_text_processing", "itn")


def by_name(recording: Recording) -> str:
    return recording.name


@pytest.mark.itn
@pytest.mark.usefixtures("needs_itn")
@pytest.mark.parametrize("recording", SPOKEN[:6], ids=by_name)
def test_spoken_digits_are_written_in_digits(wire: Wire, recording: Recording) -> None:
    exchange = wire.recognise(
        recording.pcm, sample_rate_hertz=recording.sample_rate_hertz, text=ITN
    )
    (final,) = exchange.of("final")
    digits = "zero one two three four five six seven eight nine".split()
    spoken = [str(digits.index(word)) for word in recording.reference.split()]
    # Two digits and fewer are no number to the grammar, and stay words.
    if len(spoken) > 2:
        assert final.spoken_text == recording.reference
        assert [character for character in final.text if character.isdigit()] == spoken
    else:
        assert (final.text, final.spoken_text) == (recording.reference, "")


@pytest.mark.itn
@pytest.mark.usefixtures("needs_itn")
def test_written_finals_do_not_depend_on_cuts_pace_or_method(wire: Wire) -> None:
    recording = max(SPOKEN, key=lambda r: len(r.reference))
    hertz = recording.sample_rate_hertz
    draw = random.Random(4)
    texts = set()
    for size in (160, 3200, 1 << 20):
        cuts = cut(recording.pcm, iter(lambda size=size: draw.randint(1, 2 * size), None))
        texts.add(wire.recognise(recording.pcm, cuts, sample_rate_hertz=hertz, text=ITN).text)
    request = pb.RecognizeRequest(
        config=pb.StreamingConfig(sample_rate_hertz=hertz, text=ITN), audio=recording.pcm
    )
    texts.add(wire.stub.Recognize(request).results[0].text)
    assert len(texts) == 1
    assert any(character.isdigit() for character in texts.pop())


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(VERBATIM, id="verbatim"),
        pytest.param(ITN, id="itn", marks=[pytest.mark.itn]),
    ],
)
@pytest.mark.parametrize("seed", range(100, 106))
def test_promises_hold_with_text_options(
    wire: Wire, seed: int, options: pb.TextOptions, request: pytest.FixtureRequest
) -> None:
    if options.inverse_text_normalization:
        request.getfixturevalue("needs_itn")
    requests, due = random_stream(seed)
    requests[0].config.text.CopyFrom(options)
    exchange = wire.exchange(requests)
    if RESET in requests:
        assert exchange.error is None
        assert [final.seq for final in exchange.of("final")] == due
    else:
        assert_promises(exchange, due)
    for final in exchange.of("final"):
        assert "five" not in final.text or options is not VERBATIM


@pytest.mark.itn
@pytest.mark.usefixtures("needs_itn")
@pytest.mark.parametrize("state", ["STATE_SOFT", "STATE_HARD"])
def test_utterances_of_a_conversation_are_written_one_by_one(wire: Wire, state: str) -> None:
    pcm, _ = conversation()
    rules = pb.EndpointingConfig(state=state, min_silence_ms=800)
    spoken = wire.recognise(pcm, endpointing=rules)
    written = wire.recognise(pcm, endpointing=rules, text=ITN)
    assert written.error is None
    assert [final.spoken_text or final.text for final in written.of("final")] == spoken.finals
    assert any(final.spoken_text for final in written.of("final"))
    assert [final.cause for final in written.of("final")] == [
        final.cause for final in spoken.of("final")
    ]


@pytest.mark.itn
@pytest.mark.usefixtures("needs_itn")
def test_a_single_utterance_is_written_and_ends_the_stream(wire: Wire) -> None:
    pcm, _ = conversation()
    rules = pb.EndpointingConfig(single_utterance=True)
    exchange = wire.recognise(pcm, endpointing=rules, text=ITN)
    assert exchange.error is None
    (final,) = exchange.of("final")
    assert exchange.responses[-1].WhichOneof("response") == "final"
    assert (final.spoken_text or final.text) == wire.recognise(pcm, endpointing=rules).text


def test_masked_words_of_a_live_stream(wire: Wire) -> None:
    recording = max(SPOKEN, key=lambda r: len(r.reference))
    masked = set(recording.reference.split()[:2])
    exchange = wire.recognise(
        recording.pcm,
        sample_rate_hertz=recording.sample_rate_hertz,
        text=pb.TextOptions(masked_words=[word.upper() for word in masked]),
    )
    expected = [
        word[0] + "*" * (len(word) - 1) if word in masked else word
        for word in recording.reference.split()
    ]
    assert exchange.text == " ".join(expected)
    for partial in exchange.of("partial"):
        assert not masked & set(partial.text.split()[:-1]), "only a word that may grow is shown"


@pytest.mark.itn
@pytest.mark.usefixtures("needs_itn")
def test_masked_words_stay_masked_among_written_numbers(wire: Wire) -> None:
    recording = next(each for each in SPOKEN if each.name == "digits-male-16k")
    exchange = wire.recognise(
        recording.pcm,
        sample_rate_hertz=recording.sample_rate_hertz,
        text=pb.TextOptions(inverse_text_normalization=True, masked_words=["five"]),
    )
    (final,) = exchange.of("final")
    assert recording.reference == "two one eight five zero eight two eight"
    assert re.sub(r"[ -]", "", final.text) == "218f***0828"
    assert final.spoken_text == "two one eight f*** zero eight two eight"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (pb.TextOptions(masked_words=["two words"]), "config.text.masked_words"),
        (pb.TextOptions(mask_profanity=True), "config.text.mask_profanity"),
    ],
)
def test_options_that_cannot_be_had_are_refused(
    wire: Wire, options: pb.TextOptions, field: str
) -> None:
    refused = failure(wire.recognise(b"", text=options).error)
    assert (refused.reason, refused.fields) == ("INVALID_CONFIG", (field,))


@pytest.fixture(scope="module")
def punctuating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A model whose text has capitals and marks; its weights are random."""
    folder = tmp_path_factory.mktemp("text")
    model = build_nemotron(folder / "random.nemo")
    words = folder / "words.txt"
    words.write_text("# a list\nhow\n")
    with serving(
        "--model", str(model), "--masked-words-file", str(words), "--threads", "1"
    ) as server:
        wire = Wire(server.target)
        yield wire
        wire.close()


def babble_with_marks(wire: Wire) -> tuple[bytes, str]:
    """Return what such a model reads with capitals and marks: by chance, and the build of torch."""
    for seed in range(7, 17):
        pcm = (babble(20 * 16000, seed=seed) * 32767).astype("<i2").tobytes()
        raw = wire.recognise(pcm).text
        if raw != raw.lower() and SpokenForm(TextOptions(True)).final(raw) != raw.lower():
            return pcm, raw
    raise AssertionError("nothing has capitals and marks to test with")


@pytest.mark.slow
def test_capitals_and_marks_of_the_model_go_and_nothing_else(punctuating: Wire) -> None:
    pcm, raw = babble_with_marks(punctuating)
    listed = [word.lower() for word in re.findall(r"\w+", raw) if word.isalpha()][:3]
    text = pb.TextOptions(lower_case=True, masked_words=listed, mask_profanity=True)
    changed = punctuating.recognise(pcm, text=text)
    expected = SpokenForm(TextOptions(True, frozenset({*listed, "how"}))).final(raw)
    assert changed.text == expected
    assert "*" in expected
    stable = ""
    for partial in changed.of("partial"):
        assert partial.text.startswith(stable)
        stable = partial.text[: partial.stable_len]
    assert changed.text.startswith(stable)
    assert len(stable) > len(expected) // 2
