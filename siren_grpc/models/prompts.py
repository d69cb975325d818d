"""Models that are told the language: a prompt for each slot, behind the encoder.

After NeMo's `PromptStreamingMixin`: a one-hot vector of the language stands beside every encoder
frame, and two linear layers bring both back to the encoder's width. The product of a one-hot vector
is a column of the weights, so a language costs an addition, and a batch may hold any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import AUTO_LANGUAGE, LANGUAGE_TAG
from siren_grpc.models.checkpoint import UnsupportedModel


class LanguagePrompts:
    """The language of each slot, and what it makes of the encoder's output."""

    def __init__(
        self, kernel: torch.nn.Sequential, indices: Mapping[str, int], *, n_slots: int
    ) -> None:
        """Give every slot the default language, the first of `indices`.

        kernel: linear [hidden, d_model + n_prompts], activation, linear [d_model, hidden].
        indices: the place of each language in the one-hot vector by its code.
        """
        first, self._activation, self._last = kernel
        n_prompts = 1 + max(indices.values())
        d_model = self._last.out_features
        self._indices = dict(indices)
        self._weight = first.weight[:, :d_model].contiguous()
        columns = first.weight[:, d_model : d_model + n_prompts].T
        self._shifts = (columns + first.bias).contiguous()
        """[n_prompts, hidden]: what each language adds."""
        self._default = next(iter(indices.values()))
        self._languages = torch.full(
            (n_slots,), self._default, dtype=torch.int64, device=self._weight.device
        )

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the languages, the default first."""
        return tuple(self._indices)

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's language."""
        return self._languages[0].nbytes

    def choose(self, slot: int, code: str) -> None:
        """Prompt a slot with a language from now on; an empty code means the default.

        Raises InvalidConfig for a code the model does not have.
        """
        index = self._indices.get(code) if code else self._default
        if index is None:
            raise InvalidConfig.of_field(
                "language_code", f"{code!r} has no prompt; use {', '.join(self._indices)}"
            )
        self._languages[slot] = index

    def apply(self, slots: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """Return encoder frames [n_rows, n_frames, d_model] as they sound in the slots' languages.

        slots: [n_rows] int64.
        """
        shifts = self._shifts[self._languages[slots]]
        hidden = torch.nn.functional.linear(encoded, self._weight).add_(shifts[:, None])
        return self._last(self._activation(hidden))


def prompts_of(model: Any, name: str, *, n_slots: int) -> LanguagePrompts | None:
    """Return a model's prompts, None for a model that takes none.

    Raises UnsupportedModel for prompts without a dictionary of languages that fits them.
    """
    if not getattr(model, "concat", False):
        return None
    dictionary = model.cfg.model_defaults.get("prompt_dictionary", None) or {}
    indices = _well_formed({str(code): int(index) for code, index in dictionary.items()})
    if not indices:
        raise UnsupportedModel(f"{name} takes a language prompt, but names no languages")
    wrong = [code for code, index in indices.items() if not 0 <= index < model.num_prompts]
    if wrong:
        raise UnsupportedModel(
            f"{name} has {model.num_prompts} language prompts, and none at the index of "
            + ", ".join(wrong)
        )
    return LanguagePrompts(model.prompt_kernel, indices, n_slots=n_slots)


def _well_formed(dictionary: Mapping[str, int]) -> dict[str, int]:
    """Return the languages under their BCP-47 codes, `auto` first if there is one.

    Published dictionaries also have spellings such as `enGB` and `en_GB`.
    """
    by_code = {code.replace("_", "-"): index for code, index in dictionary.items()}
    found = {AUTO_LANGUAGE: by_code[AUTO_LANGUAGE]} if AUTO_LANGUAGE in by_code else {}
    found |= {code: index for code, index in by_code.items() if LANGUAGE_TAG.fullmatch(code)}
    return found
