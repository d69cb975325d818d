"""Values of settings that are lists and tables, and how the environment spells them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SecretStr
from pydantic_settings import NoDecode


def _split(value: Any) -> Any:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def _pairs_in(value: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in _split(value)]
    if any(not name or not target for name, _, target in pairs):
        raise ValueError("give pairs such as fast=siren-mini-en, separated by commas")
    return [(name.strip(), target.strip()) for name, _, target in pairs]


def _split_pairs(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found: dict[str, str] = {}
    for name, target in _pairs_in(value):
        if name in found:
            raise ValueError(f"{name} is there twice: give each name once")
        found[name] = target
    return found


def _split_secrets(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found: dict[str, list[str]] = {}
    for name, secret in _pairs_in(value):
        found.setdefault(name, []).append(secret)
    return found


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
CommaSeparatedPairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_split_pairs)]
SecretPairs = Annotated[dict[str, tuple[SecretStr, ...]], NoDecode, BeforeValidator(_split_secrets)]
"""Secrets by name, several of a name where it is there several times."""
