"""How a model's vocabulary writes a phrase."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nemo.collections.common.tokenizers import AggregateTokenizer

from siren_grpc.models.vocabulary import labels_of

Spell = Callable[[str], list[int]]
"""Text to token ids; an unknown id where the vocabulary lacks a character."""


class Speller:
    """Spells phrases in the tokens the model would emit for them."""

    def __init__(self, model: Any) -> None:
        """Read the vocabulary of a NeMo ASR model with sub-word or character labels."""
        self._vocabularies = _vocabularies(model)

    def spell(self, text: str) -> list[list[int]]:
        """Return the token ids of a phrase, once in each of the model's vocabularies that has it.

        A model that knows no capitals spells the phrase in lower case. Raises ValueError, which
        says what the vocabulary lacks.
        """
        plain = " ".join(text.split())
        for written in (plain, plain.lower()):
            spelled = [spell(written) for spell, _ in self._vocabularies]
            whole = [
                ids
                for ids, (_, unknown) in zip(spelled, self._vocabularies, strict=True)
                if ids and unknown not in ids
            ]
            if whole:
                return whole
        missing = "".join(char for char in dict.fromkeys(plain) if not self._has(char))
        raise ValueError(f"the model cannot write {missing or plain!r}")

    def _has(self, char: str) -> bool:
        return char == " " or any(
            unknown not in spell(form)
            for spell, unknown in self._vocabularies
            for form in (char, char.lower())
        )


def _vocabularies(model: Any) -> list[tuple[Spell, int]]:
    """Return for each of a model's vocabularies how it spells, and its id for what it lacks."""
    tokenizer = getattr(model, "tokenizer", None)
    if tokenizer is None:
        ids = {label: i for i, label in enumerate(labels_of(model))}
        return [(lambda text: [ids.get(char, -1) for char in text], -1)]
    if not isinstance(tokenizer, AggregateTokenizer):
        return [(tokenizer.text_to_ids, tokenizer.unk_id)]

    def speller(language: str) -> Spell:
        def spell(text: str) -> list[int]:
            ids: list[int] = tokenizer.text_to_ids(text, language)
            return ids

        return spell

    return [
        (speller(language), part.unk_id + tokenizer.token_id_offset[language])
        for language, part in tokenizer.tokenizers_dict.items()
    ]
