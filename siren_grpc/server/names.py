"""The names clients may use for models."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from siren_grpc.domain.errors import ModelNotFound


@dataclass(frozen=True, slots=True)
class ModelNames:
    """The default model, and aliases such as `fast` and `accurate`.

    default: a model's id; empty when there is none yet. aliases: a model's id by alias.
    """

    default: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)

    def resolve(self, name: str, served: Collection[str]) -> str:
        """Return the id of the model a client means.

        name: an id, an alias, or empty for the default. served: ids of the models in service.
        Raises ModelNotFound, which lists what there is.
        """
        model_id = self.aliases.get(name, name) or self.default
        if model_id in served:
            return model_id
        known = [*served, *(a for a, target in self.aliases.items() if target in served)]
        raise ModelNotFound(
            f"no model {name!r} here; use {', '.join(known)}, or leave it empty for the default"
        )

    def aliases_of(self, model_id: str) -> list[str]:
        """Return the aliases of a model, sorted."""
        return sorted(alias for alias, target in self.aliases.items() if target == model_id)
