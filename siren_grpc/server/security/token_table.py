"""Which of the known tokens a caller shows. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from siren_grpc.server.security.tokens import TOKEN, TokenRecord, digest_of


class TokenTable:
    """The tokens that are good now, and whose each is. Immutable."""

    def __init__(self, records: Iterable[TokenRecord], *, key: bytes = b"") -> None:
        """Take over records. key: of the digests of those without an id."""
        self._key = key
        self._by_id: dict[str, TokenRecord] = {}
        self._others: list[TokenRecord] = []
        for record in records:
            if record.id:
                self._by_id[record.id] = record
            else:
                self._others.append(record)

    @property
    def names(self) -> frozenset[str]:
        """Whose tokens there are."""
        records = [*self._by_id.values(), *self._others]
        return frozenset(record.principal.name for record in records)

    def find(self, token: str) -> TokenRecord | None:
        """Return the record of a token, expired or not; None for one that is not good here.

        How long it takes tells nothing of a secret: digests are compared in constant time, and a
        token whose id is unknown costs what one with a wrong secret costs.
        """
        match = TOKEN.fullmatch(token)
        record = self._by_id.get(match[1]) if match else None
        expected = bytes(32) if record is None else record.digest
        found = record if hmac.compare_digest(digest_of(token), expected) else None
        if self._others:
            digest = digest_of(token, self._key)
            for other in self._others:  # all of them, wherever it is found
                if hmac.compare_digest(digest, other.digest):
                    found = other
        return found
