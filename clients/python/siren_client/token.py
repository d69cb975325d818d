"""The token that every call carries, and where it must not go. Pure but for `FileToken`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import grpc

from siren_client.errors import Reason, SirenError

Token: TypeAlias = str | Callable[[], str]
"""A token, or what gives one: called for every call, so that tokens can be rotated."""


class FileToken:
    """Reads the token from a file for every call: the file may be replaced at any time.

    Who replaces it may empty it first, or take it away: while there is no token in it, the last one
    that was is given.
    """

    def __init__(self, path: str | Path) -> None:
        """Refer to a file that holds a token and nothing else."""
        self._path = Path(path)
        self._last: str | None = None

    def __call__(self) -> str:
        """Return the token.

        Raises:
            OSError, ValueError: The file cannot be read, or holds no token, and never did.
        """
        try:
            self._last = _checked(self._path.read_text(encoding="utf-8").strip())
        except (OSError, ValueError):
            if self._last is None:
                raise
        return self._last


def read_token(token: Token) -> str:
    """Return the token of now.

    Raises:
        ValueError: It is empty or cannot be sent; it is not shown.
        Exception: What the function raises that gives it.
    """
    return _checked(token if isinstance(token, str) else token())


def authorization_of(token: Token | None) -> tuple[tuple[str, str], ...]:
    """Return what a call made now carries.

    Raises:
        ValueError: The token is empty or cannot be sent; it is not shown.
        SirenError: The same of one that a function gives, or the function failed: streams call it
            while they run, and end with it as with a token the server refuses.
    """
    if token is None:
        return ()
    try:
        value = read_token(token)
    except Exception as error:
        if isinstance(token, str):
            raise
        raise SirenError(
            grpc.StatusCode.UNAUTHENTICATED,
            f"there is no token to send: {error}",
            reason=Reason.AUTH_FAILED,
        ) from error
    return (("authorization", f"Bearer {value}"),)


def _checked(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("the token is empty, or holds characters that no header may")
    return value


def check_plaintext(target: str, *, is_allowed: bool) -> None:
    """Refuse to send a token where others can read it.

    Raises:
        ValueError: The target is on another machine, as far as its name tells.
    """
    if is_allowed or is_local(target):
        return
    raise ValueError(
        f"a token would travel to {target} in plain text, for anybody on the way to read: connect "
        "with TLS (credentials=Tls()), or pass plaintext_token=True if something else encrypts "
        "the way"
    )


def is_local(target: str) -> bool:
    """Whether a gRPC target is on this machine, by its name alone."""
    scheme, _, rest = target.partition(":")
    if scheme in ("unix", "unix-abstract"):
        return True
    if scheme in ("dns", "ipv4", "ipv6"):
        target = rest.rpartition("/")[2]
    return all(_is_loopback(_host(address)) for address in target.split(","))


def _host(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, colon, _ = address.rpartition(":")
    return host if colon and ":" not in host else address


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
