"""The grammars of NVIDIA's nemo_text_processing (the extra `itn`), with the words kept apart.

Imported in the normaliser's process only: a grammar takes a hundred megabytes, and reading a
sentence keeps the interpreter for some ten milliseconds.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from siren_grpc.text.normalisation import Span

_log = logging.getLogger(__name__)
_CACHED_SENTENCES = 4096


class ItnGrammar:
    """One language's grammar: a `Grammar`."""

    def __init__(self, language: str, *, cache: Path | None) -> None:
        """Load the grammar; compiling one takes 1 to 20 s, reading it from `cache` about one.

        language: primary subtag, such as `en`. cache: folder of compiled grammars; None for none.
        """
        self.library = _load(language, cache)
        """The library's `InverseNormalizer`."""
        self.spans = lru_cache(_CACHED_SENTENCES)(self._spans)

    def _spans(self, words: tuple[str, ...]) -> Sequence[Span]:
        try:
            return self._read(words)
        except Exception as error:
            # A sentence the grammar cannot read is written as it was spoken. What the library
            # says of it may quote it: speech is not logged.
            _log.warning("cannot normalise %d words: %s", len(words), type(error).__name__)
            return [Span(1, None)] * len(words)

    def _read(self, words: tuple[str, ...]) -> Sequence[Span]:
        import pynini

        sentence = " ".join(words)
        # Not `select_tag`: on the path itself, input and output stand side by side.
        path = pynini.shortestpath(pynini.escape(sentence) @ self.library.tagger.fst)
        spans = []
        read = 0
        for n_bytes, token in _tokens(path):
            text = sentence.encode()[:n_bytes].decode()
            n_words = len(text.split()) - read
            is_plain = n_words == 1 and token == f'tokens {{ name: "{words[read]}" }}'
            spans.append(Span(n_words, None if is_plain else self._verbalise(token)))
            read += n_words
        if read != len(words):
            raise ValueError(f"the grammar read {read} of {len(words)} words")
        return spans

    def _verbalise(self, token: str) -> str:
        """Return the text of a token, as `InverseNormalizer.normalize` makes it."""
        import pynini

        normaliser = self.library
        normaliser.parser(token)
        for permutation in normaliser.generate_permutations(normaliser.parser.parse()):
            lattice = normaliser.find_verbalizer(pynini.escape(permutation))
            if lattice.num_states() != 0:
                return str(normaliser.select_verbalizer(lattice)).strip()
        raise ValueError("the grammar has no written form for what it read")


def _tokens(path: Any) -> list[tuple[int, str]]:
    """Return the tokens of a tagged path, and for each the bytes of input read by its end."""
    tokens = []
    output = bytearray()
    depth = n_bytes = 0
    state = path.start()
    while arcs := list(path.arcs(state)):
        (arc,) = arcs
        n_bytes += arc.ilabel != 0
        state = arc.nextstate
        if not arc.olabel:
            continue
        output.append(arc.olabel)
        depth += (arc.olabel == ord("{")) - (arc.olabel == ord("}"))
        if arc.olabel == ord("}") and depth == 0:
            tokens.append((n_bytes, output.decode().strip()))
            output.clear()
    return tokens


def _load(language: str, cache: Path | None) -> Any:
    from nemo_text_processing.inverse_text_normalization.inverse_normalize import (
        InverseNormalizer,
    )

    logging.getLogger("NeMo-text-processing").setLevel(logging.WARNING)

    def compiled(folder: Path | None) -> Any:
        return InverseNormalizer(
            lang=language, input_case="cased", cache_dir=None if folder is None else str(folder)
        )

    if cache is None:
        return compiled(None)
    folder = cache / f"nemo_text_processing-{version('nemo_text_processing')}" / language
    if not folder.is_dir():
        _compile_into(folder, compiled)
    return compiled(folder if folder.is_dir() else None)


def _compile_into(folder: Path, compiled: Any) -> None:
    """Compile a grammar beside its folder and move it there: others may be doing the same."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as made:
            inner = Path(made) / "grammar"
            compiled(inner)
            os.replace(inner, folder)
    except OSError as error:
        _log.warning("cannot keep the compiled grammar in %s: %s", folder, error)
