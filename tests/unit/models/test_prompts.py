"""Which languages a checkpoint's prompts stand for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.models.checkpoint import UnsupportedModel
from siren_grpc.models.prompts import LanguagePrompts, prompts_of

N_PROMPTS, D_MODEL = 8, 4


def model_with(dictionary: dict[str, int] | None, *, concat: bool = True) -> SimpleNamespace:
    kernel = torch.nn.Sequential(
        torch.nn.Linear(D_MODEL + N_PROMPTS, 6), torch.nn.ReLU(), torch.nn.Linear(6, D_MODEL)
    )
    defaults = {} if dictionary is None else {"prompt_dictionary": dictionary}
    return SimpleNamespace(
        concat=concat,
        num_prompts=N_PROMPTS,
        prompt_kernel=kernel,
        cfg=SimpleNamespace(model_defaults=defaults),
    )


def prompts_with(dictionary: dict[str, int]) -> LanguagePrompts:
    prompts = prompts_of(model_with(dictionary), "some", n_slots=3)
    assert prompts is not None
    return prompts


def test_a_model_without_prompts_has_none() -> None:
    assert prompts_of(SimpleNamespace(), "some", n_slots=3) is None
    assert prompts_of(model_with({"en": 0}, concat=False), "some", n_slots=3) is None


@pytest.mark.parametrize(
    ("dictionary", "codes"),
    [
        ({"en-US": 0, "enGB": 1, "auto": 5}, ("auto", "en-US")),
        ({"en_US": 0, "zh_Hant_TW": 1, "fil": 2}, ("en-US", "zh-Hant-TW", "fil")),
        ({"de": 3, "en": 0}, ("de", "en")),
    ],
)
def test_codes(dictionary: dict[str, int], codes: tuple[str, ...]) -> None:
    assert prompts_with(dictionary).codes == codes


@pytest.mark.parametrize(
    ("dictionary", "says"),
    [
        (None, "names no languages"),
        ({"translate": 0}, "names no languages"),
        ({"en": 0, "de": 8, "fr": -1}, "has 8 language prompts, and none at the index of de, fr"),
    ],
)
def test_a_dictionary_that_does_not_fit(dictionary: dict[str, int] | None, says: str) -> None:
    with pytest.raises(UnsupportedModel, match=says):
        prompts_of(model_with(dictionary), "some", n_slots=3)


@torch.inference_mode()
def test_a_batch_of_languages_is_the_one_hot_vector_of_each() -> None:
    model = model_with({"en": 0, "de": 2, "fr": 7})
    prompts = prompts_of(model, "some", n_slots=4)
    assert prompts is not None
    for slot, code in ((0, "fr"), (1, "de"), (3, "")):
        prompts.choose(slot, code)
    slots, encoded = torch.tensor([3, 1, 0, 2]), torch.randn(4, 5, D_MODEL)
    hot = torch.nn.functional.one_hot(torch.tensor([0, 2, 7, 0]), N_PROMPTS).float()
    beside = torch.cat((encoded, hot[:, None].expand(-1, 5, -1)), dim=-1)
    torch.testing.assert_close(prompts.apply(slots, encoded), model.prompt_kernel(beside))


def test_a_code_the_model_does_not_have() -> None:
    prompts = prompts_with({"en": 0, "de": 2})
    with pytest.raises(InvalidConfig, match="'fr' has no prompt; use en, de"):
        prompts.choose(0, "fr")
