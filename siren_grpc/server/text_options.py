"""`TextOptions` of the protocol, checked."""

from __future__ import annotations

from collections.abc import Sequence

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.server import itn
from siren_grpc.server.violations import Violations
from siren_grpc.text.masking import fault_of
from siren_grpc.text.options import TextOptions

_MAX_MASKED_WORDS = 1000


def to_text_options(
    options: pb.TextOptions, language_code: str | None, server_masks: frozenset[str]
) -> TextOptions:
    """Check what a stream asks of its text.

    language_code: what it recognises; None if it asked for what is not recognised, which is no
    fault of these options. server_masks: the words of `masked_words_file`. Raises InvalidConfig
    naming the fields and what would be right.
    """
    faults = Violations()
    with faults:
        masked_words = _masked_words(options.masked_words)
    with faults:
        profanity = _profanity(server_masks) if options.mask_profanity else frozenset()
    with faults:
        is_written = options.inverse_text_normalization
        written_language = _written_language(language_code) if is_written else ""
    faults.raise_any()
    return TextOptions(
        is_lower_case=options.lower_case,
        masked_words=masked_words | profanity,
        written_language=written_language,
    )


def _masked_words(words: Sequence[str]) -> frozenset[str]:
    if len(words) > _MAX_MASKED_WORDS:
        raise InvalidConfig.of_field(
            "text.masked_words", f"{len(words)} words; {_MAX_MASKED_WORDS} is the most"
        )
    faults = Violations()
    for word in words:
        fault = fault_of(word)
        if fault is not None:
            with faults:
                raise InvalidConfig.of_field("text.masked_words", fault)
    faults.raise_any()
    return frozenset(words)


def _profanity(server_masks: frozenset[str]) -> frozenset[str]:
    if not server_masks:
        raise InvalidConfig.of_field(
            "text.mask_profanity",
            "this server has no list of words to mask; name them in text.masked_words, or ask its "
            "operator for the setting masked_words_file",
        )
    return server_masks


def _written_language(language_code: str | None) -> str:
    field = "text.inverse_text_normalization"
    if not itn.is_installed():
        raise InvalidConfig.of_field(
            field,
            f"this server does not have it for any language; leave it unset, or ask its operator "
            f"for: {itn.INSTALL}",
        )
    language = "" if language_code is None else language_code.split("-")[0].lower()
    if language_code is not None and language not in itn.LANGUAGES:
        raise InvalidConfig.of_field(
            field,
            f"there is none for {language_code}; it is there for {', '.join(itn.LANGUAGES)}, or "
            "leave it unset",
        )
    return language
