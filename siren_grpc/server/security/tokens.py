"""Tokens: how they are made, written to a file as hashes, and recognised. Pure but for `secrets`.

A token is `siren_ID_SECRET`: an id that may be known, and 32 random bytes. The file holds a line
for each, with the SHA-256 of the whole token; the id in it makes the hash a salted one. A fast hash
is right here. Slow ones (scrypt, argon2) make guessing what people choose expensive; nobody guesses
256 random bits, however quickly a guess is tried, and every call would pay for the slowness.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from siren_grpc.domain.principal import UNLIMITED, Principal, Quota

_PREFIX = "siren"
_ID_BYTES, _SECRET_BYTES = 6, 32
_LEAST_CHARS = 16
"""Of a token that somebody else made."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TOKEN = re.compile(r"siren_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
"""A token that `new_token` made; its id is the first group."""
_HASH = re.compile(r"sha256:([0-9a-f]{12}):([0-9a-f]{64})")
_RESERVED = "anonymous"
_QUOTA_FIELDS = {
    "sessions": "sessions",
    "audio-seconds-per-hour": "audio_s_per_hour",
    "audio-seconds-per-day": "audio_s_per_day",
}


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token.

    id: what it says of itself; empty for one that somebody else made. digest: its SHA-256, with the
    process's key for one without an id. expires_at: seconds since 1970; None for never.
    """

    principal: Principal
    id: str
    digest: bytes = field(repr=False)
    quota: Quota = UNLIMITED
    expires_at: float | None = None


def new_token(
    name: str, quota: Quota = UNLIMITED, expires_at: float | None = None
) -> tuple[str, TokenRecord]:
    """Make a token and its record. Raises ValueError for a name no token may have."""
    token_id = secrets.token_hex(_ID_BYTES)
    token = f"{_PREFIX}_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    digest = digest_of(token)
    return token, TokenRecord(principal_named(name), token_id, digest, quota, expires_at)


def principal_named(name: str) -> Principal:
    """Return the principal of a token's name. Raises ValueError for one no token may have."""
    if not _NAME.fullmatch(name) or name == _RESERVED:
        raise ValueError(
            f"token name {name!r}: use 1 to 64 letters, digits, dots, dashes and underscores, a "
            f"letter or digit first, and not {_RESERVED!r}"
        )
    return Principal(name)


def to_line(record: TokenRecord) -> str:
    """Return a token's line of the file. Raises ValueError for a limit that no line can have."""
    parts = [record.principal.name, f"sha256:{record.id}:{record.digest.hex()}"]
    for word, limit in _QUOTA_FIELDS.items():
        if (most := getattr(record.quota, limit)) is not None:
            text = str(most) if isinstance(most, int) else f"{most:.15g}"
            _limit(word, text)
            parts.append(f"{word}={text}")
    if record.expires_at is not None:
        expires = datetime.fromtimestamp(record.expires_at, timezone.utc)
        parts.append(f"expires={expires:%Y-%m-%dT%H:%M:%SZ}")
    return " ".join(parts)


def read_lines(text: str) -> tuple[TokenRecord, ...]:
    """Read the content of a token file: a token a line, # before a comment.

    Raises ValueError that names the line and says what is wrong with it, without its hash.
    """
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            records.append(_read_words(words))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    ids = [record.id for record in records]
    if len(set(ids)) < len(ids):
        twice = next(record for record in records if ids.count(record.id) > 1)
        raise ValueError(f"the token {twice.id} of {twice.principal.name} is there twice")
    return tuple(records)


def parse_expiry(text: str) -> float:
    """Read a time such as 2027-01-31 or 2027-01-31T12:00:00Z, in UTC where no zone is given.

    Returns seconds since 1970. Raises ValueError.
    """
    try:
        time = datetime.fromisoformat(re.sub(r"[Zz]$", "+00:00", text))
    except ValueError:
        raise ValueError(
            f"expires {text!r} is no time; write 2027-01-31 or 2027-01-31T12:00:00Z"
        ) from None
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _read_words(words: list[str]) -> TokenRecord:
    principal = principal_named(words[0])
    hashed = _HASH.fullmatch(words[1]) if len(words) > 1 else None
    if hashed is None:
        raise ValueError(
            f"{principal.name} is not followed by a hash, sha256:ID:HEX; `siren token new` writes "
            "such lines"
        )
    limits: dict[str, float] = {}
    expires_at = None
    for word in words[2:]:
        key, _, value = word.partition("=")
        if key == "expires":
            expires_at = parse_expiry(value)
        elif key in _QUOTA_FIELDS:
            limits[_QUOTA_FIELDS[key]] = _limit(key, value)
        else:
            known = ", ".join([*_QUOTA_FIELDS, "expires"])
            raise ValueError(f"{key!r} is unknown; use {known}")
    return TokenRecord(principal, hashed[1], bytes.fromhex(hashed[2]), quota_of(limits), expires_at)


def quota_of(limits: Mapping[str, float]) -> Quota:
    """Return the quota of limits by `Quota`'s names of them."""
    sessions = limits.get("sessions")
    return Quota(
        None if sessions is None else int(sessions),
        limits.get("audio_s_per_hour"),
        limits.get("audio_s_per_day"),
    )


def _limit(key: str, value: str) -> float:
    try:
        limit = float(int(value) if key == "sessions" else float(value))
    except (ValueError, OverflowError):
        limit = -1.0
    if not 0 <= limit < float("inf"):
        kind = "a whole number" if key == "sessions" else "a number"
        raise ValueError(f"{key}={value}: give {kind} from 0 on, or nothing for no limit")
    return limit


def records_of_plain(pairs: Iterable[tuple[str, str]], key: bytes) -> tuple[TokenRecord, ...]:
    """Hash tokens given in plain, each behind its name. key: random, of this process.

    Raises ValueError, which never shows a token.
    """
    records = []
    for name, token in pairs:
        principal = principal_named(name)
        if len(token) < _LEAST_CHARS or not re.fullmatch(r"[!-~]+", token):
            raise ValueError(
                f"the token of {name} is too short, or holds spaces: use {_LEAST_CHARS} printable "
                "characters or more, such as `openssl rand -hex 32` prints"
            )
        records.append(TokenRecord(principal, "", digest_of(token, key)))
    return tuple(records)


def digest_of(token: str, key: bytes = b"") -> bytes:
    """Return a token's SHA-256, or with a key its HMAC-SHA-256: 32 bytes."""
    data = token.encode("utf-8", "surrogateescape")
    return hmac.digest(key, data, "sha256") if key else hashlib.sha256(data).digest()
