"""Which languages inverse text normalisation can write on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_LIBRARIES = ("nemo_text_processing", "pynini")
LANGUAGES = ("de", "en", "es", "fr", "pt")
"""Primary subtags, of the languages nemo_text_processing has, those that are tested here.

Not those written without spaces (zh, ja), nor those whose grammar takes a minute and gigabytes to
compile (hi, ru, sv).
"""
INSTALL = "pip install 'siren-grpc[itn]'"


@cache
def is_installed() -> bool:
    """Tell whether the extra `itn` is; imports nothing."""
    return all(find_spec(name) is not None for name in _LIBRARIES)


def check_languages(languages: Sequence[str]) -> None:
    """Check languages an operator wants. Raises ValueError saying what is possible."""
    if languages and not is_installed():
        raise ValueError(f"itn_languages: inverse text normalisation is missing; {INSTALL}")
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown:
        raise ValueError(f"itn_languages: no {', '.join(unknown)}; use {', '.join(LANGUAGES)}")


def grammar_cache() -> Path | None:
    """Return the folder of compiled grammars; None where a user has no home."""
    try:
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return Path(root) / "siren-grpc" / "itn"
