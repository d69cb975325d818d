"""Who may call, over what, and how much they may have; see docs/security.md."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from siren_grpc.config.values import CommaSeparated, SecretPairs


class SecuritySettings(BaseModel):
    """Tokens, JWTs, TLS and quotas."""

    tokens_file: Path | None = Field(
        None,
        description="File of tokens, hashed, as `siren token new` writes it: calls need one of "
        "them. Read again when it changes. See docs/security.md, as for all of these.",
    )
    tokens: SecretPairs = Field(
        {},
        description="Further tokens, in plain, by name, such as phone=TOKEN, separated by commas; "
        "16 characters each at least, and a name may have several. Only from the environment.",
    )
    jwt_jwks_file: Path | None = Field(
        None,
        description="Public keys of an issuer of JWTs (JWKS): calls may show one of those instead "
        "of a token. Read again when it changes. Needs the next two.",
    )
    jwt_issuer: str = Field("", description="What the claim `iss` of a JWT must be.")
    jwt_audience: str = Field("", description="What the claim `aud` of a JWT must be or contain.")
    jwt_algorithms: CommaSeparated = Field(
        ("RS256", "PS256", "ES256", "EdDSA"),
        description="Algorithms a JWT may be signed with. Those with a shared secret (HS256) let "
        "whoever can check a JWT make one, too.",
    )
    jwt_leeway_s: float = Field(
        30.0, ge=0, le=600, description="How far the clocks of the issuer and here may differ."
    )
    jwt_quota_claim: str = Field(
        "",
        description="Claim of a JWT with its quota: an object with sessions, "
        "audio_seconds_per_hour, audio_seconds_per_day. Default: none is read.",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="Certificate, its chain behind it, in PEM: the port speaks TLS. This and the "
        "next two are read again when they change; running streams go on.",
    )
    tls_key_file: Path | None = Field(None, description="Its key, in PEM, without a passphrase.")
    tls_client_ca_file: Path | None = Field(
        None,
        description="Authorities, in PEM, one of which must have signed the certificate that every "
        "client shows then (mutual TLS).",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port that answers health checks alone, in plain text, for probes that speak "
        "no TLS, such as Kubernetes'. Default: only `port` answers them.",
    )
    allow_anonymous: bool = Field(
        False,
        description="Listen on an address that other machines reach although neither tokens, JWTs "
        "nor client certificates are asked for: whoever reaches the port may use it.",
    )
    open_health: bool = Field(
        True, description="Answer health checks, and load reports, on `port` without a token."
    )
    open_reflection: bool = Field(True, description="Answer server reflection without a token.")
    quota_sessions: int | None = Field(
        None,
        ge=0,
        description="Sessions at once of each token, JWT subject or certificate that has no quota "
        "of its own; of all anonymous callers together. Default: no limit.",
    )
    quota_audio_s_per_hour: float | None = Field(
        None, ge=0, description="Seconds of audio in any hour, likewise."
    )
    quota_audio_s_per_day: float | None = Field(
        None, ge=0, description="Seconds of audio in any day, likewise."
    )
