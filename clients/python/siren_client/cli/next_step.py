"""What a person can do about an error of a server. Pure."""

from __future__ import annotations

import re

import grpc

from siren_client.errors import Reason, SirenError

_LISTED_FIELDS = ("config.model", "config.language_code", "config.chunk_frames", "config.decoder")
_NO_CONNECTION = (
    (
        "CERTIFICATE_VERIFY_FAILED",
        "Its certificate is not trusted here, or is not for this name: --ca FILE names its "
        "authority.",
    ),
    ("WRONG_VERSION_NUMBER", "It does not speak TLS: leave --tls, --ca and --client-cert out."),
    ("Failed to create security handshaker", "A file given as --ca, --client-cert or --client-key "
     "is no certificate or key in PEM."),
    ("Socket closed", "It closes the connection, as a server that speaks TLS does: give --tls, or "
     "--ca FILE."),
    ("Failed parsing HTTP/2", "Something else than gRPC answers there: name the server's own port "
     "with --server."),
)  # fmt: skip
"""What gRPC says of a connection, and what that means."""


def next_step(error: SirenError, server: str) -> list[str]:
    """Say what a person can do about an error, if anything.

    server: the address that was asked, as the person gave it.
    """
    match error.reason:
        case Reason.AUTH_FAILED:
            return ["Give the server's token with --token-file, or in SIREN_TOKEN."]
        case Reason.MODEL_NOT_FOUND:
            return ["`siren models` lists what this server offers."]
        case Reason.INVALID_CONFIG:
            is_listed = any(violation.field in _LISTED_FIELDS for violation in error.violations)
            return ["`siren models` lists what this server offers."] if is_listed else []
        case Reason.AUDIO_TOO_FAST:
            return ["Send it at the pace it was spoken: leave --fast out."]
        case None if error.status is grpc.StatusCode.UNAVAILABLE:
            return [_reach(error.message, server)]
        case None if error.status is grpc.StatusCode.UNIMPLEMENTED:
            return [
                f"What answers at {server} recognises no speech: it is another program, or a port "
                "for something else (admin_port, health_port). Name the server with --server."
            ]
    if error.retry_after_s is not None:
        return [f"Try again in {error.retry_after_s:g} s."]
    return []


def _reach(message: str, server: str) -> str:
    """Say how to reach a server that cannot be; message: what gRPC says of it."""
    if re.match(r"https?://", server):
        return (
            "A server is named HOST:PORT, without http://; --tls says that the connection is to "
            "be encrypted."
        )
    if ":" not in server:
        return f"{server} names no port: --server {server}:50051, say."
    for sign, hint in _NO_CONNECTION:
        if sign in message:
            return hint
    return (
        f"No server answers at {server}. Start one with `siren serve`, or name another with "
        "--server."
    )
