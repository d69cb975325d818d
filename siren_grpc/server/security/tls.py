"""TLS and mutual TLS, with certificates that are replaced while the server runs."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from siren_grpc.server.security.config import TlsConfig
from siren_grpc.server.security.watched_files import WatchedFiles

_log = logging.getLogger(__name__)


class Certificates:
    """The server's certificate and key, and whose client certificates it takes.

    gRPC asks for them at every handshake, in a thread of its own: connections that are there go
    on with what they were made with.
    """

    def __init__(self, config: TlsConfig) -> None:
        """Read the files. Raises OSError or ValueError, for the operator."""
        self._config = config
        files = [config.cert_file, config.key_file]
        if config.client_ca_file is not None:
            files.append(config.client_ca_file)
        self._watched = WatchedFiles(files)
        self._current = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return what a secure port is opened with, now and, as a front end drains, later."""
        given = self._current

        def take_next() -> grpc.ServerCertificateConfiguration | None:
            """Return what new handshakes use, None for what they used before."""
            # Each server is told by itself: what one has been given, another may still lack.
            nonlocal given
            fresh = self._current
            if fresh is given:
                return None
            given = fresh
            return fresh

        return grpc.dynamic_ssl_server_credentials(
            given,
            take_next,  # type: ignore[arg-type]  # None is documented: nothing has changed
            require_client_authentication=self._config.client_ca_file is not None,
        )

    def refresh(self) -> None:
        """Read the files again if they have changed. Broken ones change nothing, but the log."""
        if not self._watched.have_changed():
            return
        try:
            self._current = self._read()
        except (OSError, ValueError) as error:
            _log.error("%s; the certificate before stays in use", error)
        else:
            _log.info("%s: read again, for new connections", self._watched.names)

    def _read(self) -> grpc.ServerCertificateConfiguration:
        config = self._config
        _check(config)
        authorities = None
        if config.client_ca_file is not None:
            authorities = config.client_ca_file.read_bytes()
        pair = (config.key_file.read_bytes(), config.cert_file.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)


def _check(config: TlsConfig) -> None:
    """Raise OSError or ValueError unless the files can be used: gRPC would tell nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.cert_file, config.key_file, password=_no_password)
    except ssl.SSLError as error:
        raise ValueError(
            f"tls_cert_file {config.cert_file} and tls_key_file {config.key_file} are no "
            f"certificate and its key, in PEM ({error.reason or error})"
        ) from None
    except OSError as error:
        raise _unreadable("tls_cert_file or tls_key_file", error, config.cert_file) from None
    if config.client_ca_file is None:
        return
    try:
        context.load_verify_locations(config.client_ca_file)
    except ssl.SSLError as error:
        raise ValueError(
            f"tls_client_ca_file {config.client_ca_file} holds no certificate in PEM "
            f"({error.reason or error})"
        ) from None
    except OSError as error:
        raise _unreadable("tls_client_ca_file", error, config.client_ca_file) from None


def _no_password() -> str:
    raise ValueError("tls_key_file is encrypted: give a key without a passphrase")


def _unreadable(setting: str, error: OSError, file: Path) -> OSError:
    return OSError(f"{setting}: cannot read {error.filename or file}: {error.strerror or error}")
