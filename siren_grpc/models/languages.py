"""Which languages a checkpoint recognises, as far as it or its name says."""

from __future__ import annotations

import re
from typing import Any

from siren_grpc.domain.model import AUTO_LANGUAGE

_SIZE = re.compile(r"\d+(\.\d+)?[bm]")
"""Parameters, as names have them: `0.6b`, `110m`."""


def languages_of(model: Any, name: str) -> tuple[str, ...]:
    """Return BCP-47 codes: of the config, else of an aggregate tokenizer, else from the name.

    A model of several finds out by itself which is spoken, so its default is AUTO_LANGUAGE. That
    alone means that nothing tells what it recognises. Models that take a language prompt name
    their languages there, not here.
    """
    configured = model.cfg.get("language_codes", None)
    if configured:
        return tuple(str(code) for code in configured)
    by_language = getattr(getattr(model, "tokenizer", None), "tokenizers_dict", None)
    if by_language:
        codes = tuple(str(code) for code in by_language)
        return codes if len(codes) == 1 else (AUTO_LANGUAGE, *codes)
    return languages_in(name)


def languages_in(name: str) -> tuple[str, ...]:
    """Return the languages of a model by its name, a hub's or a file's without suffix."""
    own_name = name.rsplit("/", 1)[-1].lower()
    if own_name in _PUBLISHED:
        return _PUBLISHED[own_name]
    parts = re.split("[-_]", own_name)
    for at, part in enumerate(parts):
        if part in _NAMES:
            return (_NAMES[part],)
        if part in _ISO_639_1 and _is_place_of_language(parts, at):
            return (part,)
    return (AUTO_LANGUAGE,)


def _is_place_of_language(parts: list[str], at: int) -> bool:
    """Tell whether names have a language there.

    Many words of two letters are codes too: `to`, `no`, and the `eu` of NVIDIA's
    `stt_multilingual_..._blend_eu`.
    """
    if parts[0] == "stt":
        return at == 1  # stt_de_conformer_ctc_large
    before, after = parts[at - 1 : at], parts[at + 1 :]
    if any(_SIZE.fullmatch(part) for part in (*before, *after[:1])):
        return True  # parakeet-rnnt-110m-da-dk, parakeet-unified-en-0.6b
    is_region = len(after) == 1 and len(after[0]) == 2
    return at > 0 and (not after or is_region)  # model-de, model-pt-br, but not my-en


_PUBLISHED: dict[str, tuple[str, ...]] = {
    "parakeet-tdt-0.6b-v3": (
        AUTO_LANGUAGE,
        *("bg hr cs da nl en et fi fr de el hu it lv lt mt pl pt ro sk sl es sv ru uk".split()),
    ),
    "stt_kk_ru_fastconformer_hybrid_large": (AUTO_LANGUAGE, "kk", "ru"),
} | dict.fromkeys(
    (
        "multitalker-parakeet-streaming-0.6b-v1",
        "parakeet-ctc-0.6b",
        "parakeet-ctc-1.1b",
        "parakeet-rnnt-0.6b",
        "parakeet-rnnt-1.1b",
        "parakeet-tdt-0.6b-v2",
        "parakeet-tdt-1.1b",
        "parakeet-tdt_ctc-110m",
        "parakeet-tdt_ctc-1.1b",
        "parakeet_realtime_eou_120m-v1",
    ),
    ("en",),
)
"""NVIDIA's models whose names do not say all of it."""

_NAMES = {
    "arabic": "ar",
    "armenian": "hy",
    "belarusian": "be",
    "bengali": "bn",
    "bulgarian": "bg",
    "catalan": "ca",
    "chinese": "zh",
    "croatian": "hr",
    "czech": "cs",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "esperanto": "eo",
    "estonian": "et",
    "finnish": "fi",
    "french": "fr",
    "georgian": "ka",
    "german": "de",
    "greek": "el",
    "hebrew": "he",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "kazakh": "kk",
    "korean": "ko",
    "latvian": "lv",
    "lithuanian": "lt",
    "maltese": "mt",
    "mandarin": "zh",
    "norwegian": "no",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "serbian": "sr",
    "slovak": "sk",
    "slovenian": "sl",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "urdu": "ur",
    "uzbek": "uz",
    "vietnamese": "vi",
}
"""Those names spell out; no other word of a model's name is one of them."""

_ISO_639_1 = frozenset(
    """
    aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de
    dv dz ee el en eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia
    id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo
    lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl
    ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk
    tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
    """.split()
)
