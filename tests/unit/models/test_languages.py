"""Which languages a checkpoint is taken for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from siren_grpc.models.languages import languages_in, languages_of

EUROPEAN = "bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()


def model_with(
    configured: list[str] | None = None, tokenizers: tuple[str, ...] = ()
) -> SimpleNamespace:
    return SimpleNamespace(
        cfg={"language_codes": configured},
        tokenizer=SimpleNamespace(tokenizers_dict=dict.fromkeys(tokenizers)),
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("siren-mini-en", "en"),
        ("nvidia/nemotron-speech-streaming-en-0.6b", "en"),
        ("nvidia/parakeet-unified-en-0.6b", "en"),
        ("nvidia/stt_en_fastconformer_hybrid_large_streaming_multi", "en"),
        ("nvidia/stt_hy_fastconformer_hybrid_large_pc", "hy"),
        ("nvidia/stt_ka_fastconformer_hybrid_transducer_ctc_large_streaming_80ms_pc", "ka"),
        ("nvidia/parakeet-rnnt-110m-da-dk", "da"),
        ("nvidia/parakeet-ctc-0.6b-Vietnamese", "vi"),
        ("nvidia/parakeet-ctc-0.6b-vi", "vi"),
        ("nvidia/parakeet-tdt_ctc-0.6b-ja", "ja"),
        ("nvidia/parakeet-ctc-0.6b-zh-tw", "zh"),
        ("someone/parakeet-tdt-0.6b-v3-pl", "pl"),
        ("my-model-pt-br", "pt"),
        ("my-en", "en"),
        ("finnish-telephone-v2", "fi"),
    ],
)
def test_of_a_name_that_says_it(name: str, code: str) -> None:
    assert languages_in(name) == (code,)


@pytest.mark.parametrize("folder", ["nvidia/", ""])
def test_of_published_models_whose_names_do_not_say_it(folder: str) -> None:
    assert languages_in(f"{folder}parakeet-tdt-0.6b-v3") == ("auto", *EUROPEAN)
    assert languages_in(f"{folder}stt_kk_ru_fastconformer_hybrid_large") == ("auto", "kk", "ru")
    for name in ("tdt-0.6b-v2", "rnnt-1.1b", "ctc-0.6b", "tdt_ctc-110m", "tdt_ctc-1.1b"):
        assert languages_in(f"{folder}parakeet-{name}") == ("en",)


@pytest.mark.parametrize(
    "name",
    [
        "my-model",
        "it/some-model",
        "speech-to-text-large",
        "stt_multilingual_fastconformer_hybrid_large_pc_blend_eu",
        "stt_xx_fastconformer_large_pc",
        "parakeet-tdt-0.6b-v4",
    ],
)
def test_a_name_that_says_nothing_is_not_taken_for_english(name: str) -> None:
    assert languages_in(name) == ("auto",)


def test_a_configuration_and_tokenizers_count_more_than_the_name() -> None:
    assert languages_of(model_with(["pt-BR", "pt"], ("de",)), "own-en") == ("pt-BR", "pt")
    assert languages_of(model_with(tokenizers=("de",)), "own-en") == ("de",)
    assert languages_of(model_with(tokenizers=("en", "es")), "own-en") == ("auto", "en", "es")
    assert languages_of(model_with(), "own-en") == ("en",)
