"""Several servers that keep their ports when they are restarted."""

from __future__ import annotations

import socket

from tests.support.server import SirenServer


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Replicas:
    """`siren serve` processes that keep their ports when they are restarted."""

    def __init__(self, count: int, *arguments: str) -> None:
        """Start them all at once. arguments: flags of `serve`."""
        self._arguments = arguments
        self.ports = [free_port() for _ in range(count)]
        self.servers = [self._start(port) for port in self.ports]

    def wait_serving(self) -> None:
        """Wait until all have loaded their model."""
        for server in self.servers:
            server.wait_serving()

    def restart(self, index: int) -> int:
        """Stop one as an orchestrator does, and wait until its successor is ready.

        Returns the exit code of the one that stopped.
        """
        server = self.servers[index]
        server.signal()
        code = server.wait()
        server.close()
        self.servers[index] = self._start(self.ports[index])
        self.servers[index].wait_serving()
        return code

    def close(self) -> None:
        """End them, however they are doing."""
        for server in self.servers:
            server.close()

    def _start(self, port: int) -> SirenServer:
        return SirenServer("--port", str(port), *self._arguments)
