"""JSON Web Tokens (RFC 7519), checked with the keys of a JWKS file (RFC 7517)."""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import jwt

from siren_grpc.domain.errors import AuthFailed
from siren_grpc.domain.principal import UNLIMITED, Caller, Principal, Quota
from siren_grpc.server.security.config import JwtConfig
from siren_grpc.server.security.tokens import quota_of

_SUBJECT = re.compile(r"[!-~]([ -~]{0,254}[!-~])?")
"""What a line of the log can hold."""
_PREFIX = "jwt:"
_CLAIMS = {
    "sessions": "sessions",
    "audio_seconds_per_hour": "audio_s_per_hour",
    "audio_seconds_per_day": "audio_s_per_day",
}


def check_algorithms(names: tuple[str, ...]) -> None:
    """Raise ValueError unless signatures can be checked with each of these algorithms."""
    known = set(jwt.algorithms.get_default_algorithms()) - {"none"}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wrong = ", ".join(unknown) or "none are given"
        raise ValueError(f"jwt_algorithms: {wrong}; use {', '.join(sorted(known))}")


class JwtVerifier:
    """Checks JWTs with the keys of one version of a JWKS file."""

    def __init__(self, config: JwtConfig, jwks: str) -> None:
        """Take over the keys. Raises ValueError when there is none that is of use."""
        self._config = config
        try:
            parsed = json.loads(jwks)
            entries = [key for key in parsed["keys"] if key.get("use", "sig") == "sig"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError('no JSON object with a list of "keys"') from None
        # By kid and algorithm: an issuer that changes its key may give both the same, or no kid.
        self._keys: defaultdict[tuple[str, str], list[jwt.PyJWK]] = defaultdict(list)
        for entry in entries:
            for algorithm in config.algorithms:
                key = _key(entry, algorithm)
                if key is not None:
                    self._keys[str(entry.get("kid", "")), algorithm].append(key)
        if not self._keys:
            raise ValueError(f"no key for {', '.join(config.algorithms)} in it")

    def verify(self, token: str) -> Caller:
        """Return who a JWT names. Raises AuthFailed, with what is wrong with it."""
        config = self._config
        try:
            claims = self._claims_of(token)
        except jwt.ExpiredSignatureError:
            raise AuthFailed("the JWT has expired; get a new one from its issuer") from None
        except jwt.InvalidIssuerError:
            raise AuthFailed(f"the JWT is not of the issuer {config.issuer}") from None
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as error:
            raise AuthFailed(
                f"the JWT is not for this server: {error}; it needs the audience "
                f"{config.audience}, an issuer, a subject and an expiry"
            ) from None
        except (jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError):
            raise AuthFailed("the JWT is not valid yet; is a clock wrong?") from None
        except jwt.PyJWTError:
            raise AuthFailed(
                "the JWT is not accepted: it is damaged, or no key of the server is its issuer's"
            ) from None
        subject = claims["sub"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise AuthFailed("the subject of the JWT must be 1 to 256 printable ASCII characters")
        return Caller(Principal(_PREFIX + subject), self._quota(claims))

    def _claims_of(self, token: str) -> dict[str, Any]:
        """Return what a JWT says, when a key has signed it. Raises jwt.PyJWTError."""
        config = self._config
        for key in self._keys_of(jwt.get_unverified_header(token)):
            # Claims are looked at when the signature is right: only then is what is wrong with
            # them told, to somebody who has a token of the issuer.
            with suppress(jwt.InvalidSignatureError):
                return jwt.decode(
                    token,
                    key,
                    algorithms=[key.algorithm_name],
                    issuer=config.issuer,
                    audience=config.audience,
                    leeway=config.leeway_s,
                    options={"require": ["exp", "sub", "iss", "aud"]},
                )
        raise jwt.InvalidKeyError("no key of the file is this token's")

    def _keys_of(self, header: Mapping[str, Any]) -> list[jwt.PyJWK]:
        """Return the keys that may have signed what has such a header."""
        algorithm, kid = str(header.get("alg", "")), str(header.get("kid", ""))
        if kid:  # which a key need not have (RFC 7517, section 4.5)
            return [key for name in (kid, "") for key in self._keys.get((name, algorithm), [])]
        return [key for (_, name), keys in self._keys.items() if name == algorithm for key in keys]

    def _quota(self, claims: Mapping[str, Any]) -> Quota:
        limits = claims.get(self._config.quota_claim) if self._config.quota_claim else None
        if limits is None:
            return UNLIMITED
        if not isinstance(limits, dict) or not all(
            name in _CLAIMS and _is_limit(value) for name, value in limits.items()
        ):
            # Taking it for no limit would grant more than the issuer meant to.
            raise AuthFailed(
                f"the claim {self._config.quota_claim} of the JWT must be an object with numbers "
                f"from 0 on, named {', '.join(_CLAIMS)}"
            )
        return quota_of({_CLAIMS[name]: float(value) for name, value in limits.items()})


def _key(entry: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    """Return a key of the file for an algorithm; None when it is of another kind."""
    if entry.get("alg", algorithm) != algorithm:
        return None
    try:
        return jwt.PyJWK(dict(entry), algorithm)
    except (jwt.PyJWTError, ValueError, KeyError):
        return None


def _is_limit(value: object) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and 0 <= value <= sys.float_info.max  # what a whole number may exceed, too
    )
