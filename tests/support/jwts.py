"""An issuer of JWTs with keys of its own."""

from __future__ import annotations

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://issuer.example", "siren"


class Issuer:
    """Signs JWTs, and says with which keys they are checked."""

    def __init__(self, algorithm: str = "ES256", kid: str = "k1") -> None:
        """Make a key."""
        self._algorithm, self._kid = algorithm, kid
        self.key: Any = {
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
            "RS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "PS256": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
        }[algorithm]()

    @property
    def public(self) -> dict[str, Any]:
        """Its entry in a JWKS."""
        kind = jwt.get_algorithm_by_name(self._algorithm)
        entry = kind.to_jwk(self.key.public_key(), as_dict=True)
        return {**entry, "use": "sig", **({"kid": self._kid} if self._kid else {})}

    @property
    def jwks(self) -> str:
        """A JWKS with its key alone."""
        return json.dumps({"keys": [self.public]})

    def sign(self, **claims: Any) -> str:
        """Return a JWT that is good for five minutes; None leaves a claim out."""
        good = {"sub": "ada", "iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 300}
        claims = {name: value for name, value in {**good, **claims}.items() if value is not None}
        headers = {"kid": self._kid} if self._kid else None
        return jwt.encode(claims, self.key, algorithm=self._algorithm, headers=headers)
