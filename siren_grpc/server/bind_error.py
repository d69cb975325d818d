"""Why a server cannot listen on an address, and what to do: gRPC itself does not say."""

from __future__ import annotations

import errno
import socket


def cannot_listen(address: str, setting: str, cause: Exception) -> OSError:
    """Return the error for an address that could not be bound.

    address: HOST:PORT, an IPv6 host in brackets. setting: of the port, such as `admin_port`.
    cause: told where the system finds nothing wrong with the address.
    """
    host, _, port = address.rpartition(":")
    flag = f"--{setting.replace('_', '-')}"
    try:
        _try(host.strip("[]"), int(port))
    except OSError as error:
        hint = {
            errno.EADDRINUSE: "another program has the port, perhaps another `siren serve`: end "
            f"it, or choose a port with {flag}",
            errno.EADDRNOTAVAIL: "that is no address of this machine; 0.0.0.0 stands for all of "
            "them",
            errno.EACCES: f"ports below 1024 are the system's: choose another with {flag}",
        }.get(error.errno or 0)
        reason = error.strerror if hint is None else f"{error.strerror}; {hint}"
        return OSError(f"cannot listen on {address}: {reason}")
    return OSError(f"cannot listen on {address}: {cause}")


def _try(host: str, port: int) -> None:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC binds
        probe.bind(address)
