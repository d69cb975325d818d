"""From the settings to a front end's security, or to why the server does not start with them."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket

from siren_grpc.config.settings import Settings
from siren_grpc.domain.principal import Quota
from siren_grpc.server.security.authenticator import Authenticator
from siren_grpc.server.security.config import JwtConfig, SecurityConfig, TlsConfig
from siren_grpc.server.security.tls import Certificates
from siren_grpc.server.security.tokens import records_of_plain

_log = logging.getLogger(__name__)
_KEY_BYTES = 32


def security_of(settings: Settings) -> SecurityConfig:
    """Return what front ends are told about security.

    Raises OSError or ValueError, for the operator: settings that contradict each other, files that
    cannot be used, or an address that would be open to strangers.
    """
    key = secrets.token_bytes(_KEY_BYTES)
    plain = [
        (name, token.get_secret_value())
        for name, tokens in settings.tokens.items()
        for token in tokens
    ]
    config = SecurityConfig(
        tokens_file=settings.tokens_file,
        tokens=records_of_plain(plain, key),
        token_key=key,
        jwt=_jwt_of(settings),
        tls=_tls_of(settings),
        default_quota=Quota(
            settings.quota_sessions,
            settings.quota_audio_s_per_hour,
            settings.quota_audio_s_per_day,
        ),
        open_health=settings.open_health,
        open_reflection=settings.open_reflection,
        health_port=settings.health_port,
    )
    _check_exposure(settings, config)
    _check_admin_exposure(settings)
    Authenticator(config)
    if config.tls is not None:
        Certificates(config.tls)
    return config


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on a host's addresses."""
    try:
        found = socket.getaddrinfo(host or "::", None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(row[4][0]).split("%")[0]).is_loopback for row in found)


def _check_exposure(settings: Settings, config: SecurityConfig) -> None:
    if is_loopback(settings.host):
        return
    if not config.has_authentication and not settings.allow_anonymous:
        raise ValueError(
            f"{settings.host} is reached from other machines, and nobody would be asked who they "
            "are. Give tokens (`siren token new --name NAME --file tokens.txt`, then --tokens-file "
            "tokens.txt, or SIREN_TOKENS=NAME=TOKEN in the environment), jwt_jwks_file or "
            "tls_client_ca_file; or let everybody in with --allow-anonymous "
            "(SIREN_ALLOW_ANONYMOUS=true). See docs/security.md"
        )
    if config.wants_token and config.tls is None:
        _log.warning(
            "tokens and audio travel to %s in plain text: set tls_cert_file and tls_key_file, or "
            "let a proxy or mesh in front end TLS",
            settings.host,
        )


def _check_admin_exposure(settings: Settings) -> None:
    # Its port speaks no TLS and takes no token, so nothing that `port` asks for protects it.
    if settings.admin_port is None or settings.admin_allow_anonymous:
        return
    if not is_loopback(settings.admin_host):
        raise ValueError(
            f"admin_host {settings.admin_host!r} is reached from other machines, and whoever "
            "reaches the admin service sees who calls from where, and can end any stream: it "
            "asks nobody who they are. Leave it on 127.0.0.1, and reach it through ssh or `kubectl "
            "port-forward`; or, where only operators reach the address, say so with "
            "--admin-allow-anonymous (SIREN_ADMIN_ALLOW_ANONYMOUS=true). See docs/security.md"
        )


def _jwt_of(settings: Settings) -> JwtConfig | None:
    given = [bool(v) for v in (settings.jwt_jwks_file, settings.jwt_issuer, settings.jwt_audience)]
    if settings.jwt_jwks_file is None or not all(given):
        if any(given):
            raise ValueError(
                "jwt_jwks_file, jwt_issuer and jwt_audience belong together: a JWT meant for "
                "another service would be taken otherwise"
            )
        return None
    from siren_grpc.server.security.jwt_tokens import check_algorithms

    check_algorithms(settings.jwt_algorithms)
    return JwtConfig(
        settings.jwt_jwks_file,
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_algorithms,
        settings.jwt_leeway_s,
        settings.jwt_quota_claim,
    )


def _tls_of(settings: Settings) -> TlsConfig | None:
    if settings.tls_cert_file is None or settings.tls_key_file is None:
        if (settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file) != (
            None,
            None,
            None,
        ):
            raise ValueError(
                "tls_cert_file and tls_key_file belong together, and tls_client_ca_file needs both"
            )
        return None
    return TlsConfig(settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file)
