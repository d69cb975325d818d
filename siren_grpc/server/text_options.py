"""`TextOptions` of the protocol, checked."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.server import itn
from siren_grpc.text.masking import fault_of
from siren_grpc.text.options import TextOptions

_MAX_MASKED_WORDS = 1000


def to_text_options(
    options: pb.TextOptions, language_code: str, server_masks: frozenset[str]
) -> TextOptions:
    """Check what a stream asks of its text.

    language_code: what it recognises. server_masks: the words of `masked_words_file`. Raises
    InvalidConfig naming the field and what would be right.
    """
    return TextOptions(
        is_lower_case=options.lower_case,
        masked_words=_masked_words(options, server_masks),
        written_language=(
            _written_language(language_code) if options.inverse_text_normalization else ""
        ),
    )


def _masked_words(options: pb.TextOptions, server_masks: frozenset[str]) -> frozenset[str]:
    if len(options.masked_words) > _MAX_MASKED_WORDS:
        raise InvalidConfig.of_field(
            "text.masked_words",
            f"{len(options.masked_words)} words; {_MAX_MASKED_WORDS} is the most",
        )
    for word in options.masked_words:
        fault = fault_of(word)
        if fault is not None:
            raise InvalidConfig.of_field("text.masked_words", fault)
    masked = frozenset(options.masked_words)
    if not options.mask_profanity:
        return masked
    if not server_masks:
        raise InvalidConfig.of_field(
            "text.mask_profanity",
            "this server has no list of words to mask; name them in text.masked_words, or ask its "
            "operator for the setting masked_words_file",
        )
    return masked | server_masks


def _written_language(language_code: str) -> str:
    field = "text.inverse_text_normalization"
    if not itn.is_installed():
        raise InvalidConfig.of_field(
            field,
            f"this server does not have it for any language; leave it unset, or ask its operator "
            f"for: {itn.INSTALL}",
        )
    language = language_code.split("-")[0].lower()
    if language not in itn.LANGUAGES:
        raise InvalidConfig.of_field(
            field,
            f"there is none for {language_code}; it is there for {', '.join(itn.LANGUAGES)}, or "
            "leave it unset",
        )
    return language
