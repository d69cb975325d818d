from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from siren_grpc.domain.errors import AuthFailed
from siren_grpc.domain.principal import Principal, Quota
from siren_grpc.server.security.config import JwtConfig
from siren_grpc.server.security.jwt_tokens import JwtVerifier, check_algorithms
from tests.support.jwts import AUDIENCE, ISSUER, Issuer

HUGE = {"sessions": 10**400}
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


def verifier(jwks: str, **changed: Any) -> JwtVerifier:
    fields = {
        "jwks_file": Path("jwks.json"),
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ALGORITHMS,
        "leeway_s": 30.0,
        "quota_claim": "siren",
    }
    return JwtVerifier(JwtConfig(**{**fields, **changed}), jwks)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_one_names_its_subject(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    caller = verifier(issuer.jwks).verify(issuer.sign())
    assert (caller.principal, caller.quota) == (Principal("jwt:ada"), Quota())


def test_a_key_without_an_id_is_found_if_it_is_the_only_one() -> None:
    issuer = Issuer(kid="")
    assert verifier(issuer.jwks).verify(issuer.sign()).principal.name == "jwt:ada"


@pytest.mark.parametrize("kid", ["", "k1"])
def test_keys_that_are_called_alike_are_all_good(kid: str) -> None:
    """An issuer that names none of its keys shows two of them while it changes from one to one."""
    old, new, stranger = (Issuer(kid=kid) for _ in range(3))
    checks = verifier(json.dumps({"keys": [old.public, new.public]}))
    for issuer in (old, new):
        assert checks.verify(issuer.sign()).principal.name == "jwt:ada"
        with pytest.raises(AuthFailed, match="has expired"):
            checks.verify(issuer.sign(exp=1))
    with pytest.raises(AuthFailed, match="not accepted"):
        checks.verify(stranger.sign())


def test_a_token_may_name_its_key_where_the_file_does_not() -> None:
    named, other = Issuer(kid="k1"), Issuer(kid="k2")
    anonymous = {name: value for name, value in named.public.items() if name != "kid"}
    checks = verifier(json.dumps({"keys": [other.public, anonymous]}))
    assert checks.verify(named.sign()).principal.name == "jwt:ada"
    assert checks.verify(other.sign()).principal.name == "jwt:ada"
    with pytest.raises(AuthFailed, match="not accepted"):
        checks.verify(Issuer(kid="k1").sign())


def test_the_quota_is_in_a_claim() -> None:
    issuer = Issuer()
    checks = verifier(issuer.jwks)
    limits = {"sessions": 3, "audio_seconds_per_hour": 60}
    assert checks.verify(issuer.sign(siren=limits)).quota == Quota(3, 60.0)
    for wrong in (
        "3",
        {"sessions": "3"},
        {"sessions": -1},
        {"sessions": True},
        {"seats": 3},
        [3],
        HUGE,
    ):
        with pytest.raises(AuthFailed, match="claim siren"):
            checks.verify(issuer.sign(siren=wrong))
    assert verifier(issuer.jwks, quota_claim="").verify(issuer.sign(siren="3")).quota == Quota()


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": time.time() - 60}, "has expired"),
        ({"exp": None}, "an expiry"),
        ({"sub": None}, "a subject"),
        ({"iss": "https://other.example"}, "not of the issuer"),
        ({"iss": None}, "an issuer"),
        ({"aud": "other"}, "needs the audience siren"),
        ({"aud": None}, "audience"),
        ({"nbf": time.time() + 86400}, "not valid yet"),
        ({"sub": "two\nlines"}, "printable ASCII"),
        ({"sub": ""}, "printable ASCII"),
        ({"sub": "x" * 257}, "printable ASCII"),
    ],
)
def test_what_is_wrong_with_a_signed_one_is_said(claims: dict[str, Any], says: str) -> None:
    issuer = Issuer()
    with pytest.raises(AuthFailed, match=says):
        verifier(issuer.jwks).verify(issuer.sign(**claims))


def test_clocks_may_differ_by_the_leeway() -> None:
    issuer = Issuer()
    token = issuer.sign(exp=time.time() - 10)
    verifier(issuer.jwks).verify(token)
    with pytest.raises(AuthFailed, match="expired"):
        verifier(issuer.jwks, leeway_s=5.0).verify(token)


def test_forgeries_are_all_answered_alike() -> None:
    issuer = Issuer("RS256")
    public_pem = issuer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    claims = part({"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300})
    none = f"{part({'alg': 'none', 'kid': 'k1'})}.{claims}."
    confused = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{claims}"
    mac = hmac.digest(public_pem, confused.encode(), hashlib.sha256)
    confused += "." + base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    good = issuer.sign()
    head, body, signature = good.split(".")
    tampered = f"{head}.{part({'sub': 'root'})}.{signature}"
    strange = Issuer("RS256").sign()  # the same key id
    unknown = Issuer("RS256", kid="k9").sign()
    checks = verifier(issuer.jwks)
    assert checks.verify(good)
    said = set()
    for forged in (none, confused, tampered, strange, unknown, f"{head}.{body}.", "a.b.c", ".."):
        with pytest.raises(AuthFailed) as error:
            checks.verify(forged)
        said.add(error.value.message)
    assert len(said) == 1


def test_another_algorithm_than_those_allowed() -> None:
    issuer = Issuer("RS256")
    with pytest.raises(ValueError, match="no key for ES256"):
        verifier(issuer.jwks, algorithms=("ES256",))
    other = Issuer("ES256", kid="k2")
    both = json.dumps({"keys": [issuer.public, other.public]})
    checks = verifier(both, algorithms=("ES256",))
    assert checks.verify(other.sign())
    with pytest.raises(AuthFailed, match="not accepted"):
        checks.verify(issuer.sign())


@pytest.mark.parametrize("jwks", ["", "[]", "{}", '{"keys": 3}', '{"keys": []}', '{"keys": [{}]}'])
def test_a_file_without_keys(jwks: str) -> None:
    with pytest.raises(ValueError, match=r"keys|no key"):
        verifier(jwks)


def test_algorithms_are_known_and_none_is_none_of_them() -> None:
    check_algorithms(ALGORITHMS)
    for wrong in (("none",), ("RS257",), ()):
        with pytest.raises(ValueError, match="jwt_algorithms"):
            check_algorithms(wrong)
