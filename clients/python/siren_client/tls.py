"""TLS for a connection: whom to trust, and what to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a connection is encrypted; `Tls()` trusts the authorities that gRPC brings along.

    Everything is PEM.
    """

    root_certificates: bytes | None = None
    """Authorities trusted instead."""
    client_certificate: bytes | None = None
    """Shown to a server that asks for one (mutual TLS), its chain behind it; needs the key."""
    client_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a certificate without its key."""
        if (self.client_certificate is None) != (self.client_key is None):
            raise ValueError("client_certificate and client_key belong together")

    @classmethod
    def from_files(
        cls,
        *,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
    ) -> Self:
        """Read the files.

        Raises:
            OSError: One cannot be read.
            ValueError: A certificate without its key.
        """
        ca, certificate, key = (
            None if file is None else Path(file).read_bytes()
            for file in (ca_file, cert_file, key_file)
        )
        return cls(root_certificates=ca, client_certificate=certificate, client_key=key)

    def to_credentials(self) -> grpc.ChannelCredentials:
        """Make gRPC's own."""
        return grpc.ssl_channel_credentials(
            self.root_certificates, self.client_key, self.client_certificate
        )
