"""A model that is told the language, in a real server.

Its weights are random: nothing is claimed of what it recognises, only that each stream is
recognised in the language it asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from siren.v1 import speech_pb2 as pb

from tests.support import checkpoints, sounds
from tests.support.server import serving
from tests.support.wire import END, FINALIZE, Wire, audio, config, failure

pytestmark = pytest.mark.e2e

CODES = ["auto", "en-US", "en", "en-GB", "es-ES", "es-US", "es", "de-DE", "mt-MT"]
SPOKEN = ["auto", "en-US", "de-DE", "mt-MT"]


def pcm(seed: int) -> bytes:
    samples = sounds.babble(48_000, seed=seed)
    return (samples * 32767).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    path = checkpoints.build_prompted(tmp_path_factory.mktemp("models") / "many.nemo")
    with serving("--model", str(path), "--threads", "1", "--max-sessions", "8") as server:
        wire = Wire(server.target)
        yield wire
        wire.close()


def test_languages_are_listed_and_the_default_is_the_models(multilingual: Wire) -> None:
    (model,) = multilingual.stub.ListModels(pb.ListModelsRequest()).models
    assert list(model.language_codes) == CODES
    for asked, chosen in (("", "auto"), ("DE-de", "de-DE"), ("mt", "mt-MT"), ("en-AU", "en")):
        exchange = multilingual.recognise(b"", language_code=asked)
        (started,) = exchange.of("started")
        assert started.language_code == chosen
        (final,) = exchange.of("final")
        assert final.language_code == ("" if chosen == "auto" else chosen)


def test_a_language_the_model_does_not_have_is_refused_with_those_it_has(
    multilingual: Wire,
) -> None:
    refused = failure(multilingual.recognise(pcm(1), language_code="fr-FR").error)
    assert (refused.code, refused.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_CONFIG",
    )
    assert refused.fields == ("config.language_code",)
    assert f"does not recognise 'fr-FR'; use {', '.join(CODES)}" in refused.message
    with pytest.raises(grpc.RpcError) as caught:
        multilingual.stub.Recognize(
            pb.RecognizeRequest(config=pb.StreamingConfig(language_code="fr"), audio=pcm(1))
        )
    assert f"use {', '.join(CODES)}" in failure(caught.value).message


def test_languages_side_by_side_are_each_what_they_are_alone(multilingual: Wire) -> None:
    def text(language: str) -> str:
        return multilingual.recognise(pcm(1), language_code=language).text

    alone = {language: text(language) for language in SPOKEN}
    assert len(set(alone.values())) == len(SPOKEN), alone
    for language, expected in alone.items():
        request = pb.RecognizeRequest(
            config=pb.StreamingConfig(language_code=language), audio=pcm(1)
        )
        (final,) = multilingual.stub.Recognize(request).results
        assert final.text == expected
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(text, SPOKEN * 4))
    assert together == list(alone.values()) * 4


def test_the_next_utterance_is_in_the_same_language(multilingual: Wire) -> None:
    once = multilingual.recognise(pcm(2), language_code="de-DE").text
    requests = [config(language_code="de-DE"), audio(pcm(2)), FINALIZE, audio(pcm(2)), END]
    assert multilingual.exchange(requests).finals == [once, once]
    assert once != multilingual.recognise(pcm(2), language_code="auto").text
