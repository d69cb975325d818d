"""A TCP proxy between a client and a server that can fail in the ways networks do."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

HEADERS, RST_STREAM, PING, GOAWAY, WINDOW_UPDATE = 1, 3, 6, 7, 8
_HEADER = struct.Struct(">BHBBI")  # length (24 bits), type, flags, stream
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class FaultyProxy:
    """Forwards connections to a server until told otherwise. Any thread may tell it."""

    def __init__(self, upstream: str) -> None:
        """Listen on a port of its own. upstream: HOST:PORT of the server."""
        self.upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._connections: set[_Connection] = set()
        self._flows = threading.Event()
        self._flows.set()
        self._is_refusing = False
        self._is_closed = False
        self._delay_s = 0.0
        self._piece_bytes: int | None = None
        self._bytes_per_s: float | None = None
        self._is_breaking = False
        self.frames_down: list[tuple[int, int]] = []
        """Type and stream of each frame of HTTP/2 that a server has sent."""
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, *, with_reset: bool = False) -> int:
        """Close all connections on both sides; return how many. with_reset: RST instead of FIN."""
        return self._each(lambda connection: connection.cut(with_reset=with_reset))

    def half_close(self, *, to_client: bool) -> int:
        """Pass nothing more on in one direction, and say so with a FIN."""
        return self._each(lambda connection: connection.half_close(to_client=to_client))

    def go_away(self) -> int:
        """Tell clients, as a server that is going does, that none of their streams was taken."""
        payload = struct.pack(">II", 0, 0)
        return self._each(lambda connection: connection.inject(GOAWAY, 0, payload))

    def reset_streams(self, code: int) -> int:
        """Tell clients that their newest stream is reset, with an error code of HTTP/2."""
        payload = struct.pack(">I", code)
        return self._each(lambda connection: connection.inject(RST_STREAM, None, payload))

    def stall(self) -> None:
        """Pass nothing on and close nothing, until `flow`."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on what comes, and what waits."""
        self._flows.set()

    def shape(
        self,
        *,
        delay_s: float = 0.0,
        piece_bytes: int | None = None,
        bytes_per_s: float | None = None,
    ) -> None:
        """Pass on late, in small pieces, or slowly, in both directions; without arguments as it is.

        delay_s: before each stretch that came in one. piece_bytes: passed on in one go at most.
        bytes_per_s: of one direction of a connection.
        """
        self._delay_s, self._piece_bytes = delay_s, piece_bytes
        self._bytes_per_s = bytes_per_s

    def break_within(self) -> None:
        """Reset the next connection that has something to pass on, in the middle of that."""
        self._is_breaking = True

    def pour(self, data: bytes, send: Callable[[bytes], object]) -> None:
        """Pass data on as `shape` and `break_within` have it. Raises ConnectionResetError."""
        if self._delay_s:
            time.sleep(self._delay_s)
        if self._is_breaking and len(data) > 1:
            self._is_breaking = False
            send(data[: len(data) // 2])
            raise ConnectionResetError
        size = self._piece_bytes or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            if self._bytes_per_s:
                time.sleep(len(piece) / self._bytes_per_s)
            send(piece)

    def refuse(self, *, is_refusing: bool) -> None:
        """Close new connections as soon as they are made, or stop doing so."""
        self._is_refusing = is_refusing

    def close(self) -> None:
        """Close everything."""
        self._is_closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.flow()
        self.cut()

    def forget(self, connection: _Connection) -> None:
        """Note that a connection is over."""
        with self._lock:
            self._connections.discard(connection)

    def wait_flowing(self) -> None:
        """Return when nothing is stalled."""
        self._flows.wait()

    def _each(self, act) -> int:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            act(connection)
        return len(connections)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_refusing or self._is_closed:
                client.close()
                continue
            host, _, port = self.upstream.rpartition(":")
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:
                client.close()
                continue
            connection = _Connection(self, client, server)
            with self._lock:
                self._connections.add(connection)
            connection.start()


class _Connection:
    def __init__(self, proxy: FaultyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self._to_client = threading.Lock()
        self._injected: list[tuple[int, int | None, bytes]] = []
        self._partial_frame = b""
        self._newest_stream = 0
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for pump in (self._pump_up, self._pump_down):
            threading.Thread(target=pump, daemon=True).start()

    def cut(self, *, with_reset: bool = False) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                if with_reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                else:
                    end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._proxy.forget(self)

    def half_close(self, *, to_client: bool) -> None:
        with contextlib.suppress(OSError):
            (self._client if to_client else self._server).shutdown(socket.SHUT_WR)

    def inject(self, kind: int, stream: int | None, payload: bytes) -> None:
        """Send the client a frame of our own, between two of the server's."""
        with self._to_client:
            self._injected.append((kind, stream, payload))
            if not self._partial_frame:
                self._send_injected()

    def _pump_up(self) -> None:
        self._pump(self._client, lambda data: self._proxy.pour(data, self._server.sendall))

    def _pump_down(self) -> None:
        self._pump(self._server, self._send_down)

    def _pump(self, source: socket.socket, send) -> None:
        try:
            while data := source.recv(1 << 16):
                self._proxy.wait_flowing()
                send(data)
        except ConnectionResetError:
            self.cut(with_reset=True)
        except OSError:
            pass
        self.cut()

    def _send_down(self, data: bytes) -> None:
        """Pass whole frames on, so that there is a place between two of them."""
        with self._to_client:
            data = self._partial_frame + data
            start = 0
            while len(data) - start >= _HEADER.size:
                high, low, kind, _, stream = _HEADER.unpack_from(data, start)
                end = start + _HEADER.size + (high << 16) + low
                if end > len(data):
                    break
                self._proxy.frames_down.append((kind, stream & 0x7FFFFFFF))
                self._newest_stream = max(self._newest_stream, stream & 0x7FFFFFFF)
                start = end
            self._partial_frame = data[start:]
            if start:
                self._proxy.pour(data[:start], self._client.sendall)
                self._send_injected()

    def _send_injected(self) -> None:
        for kind, stream, payload in self._injected:
            number = self._newest_stream if stream is None else stream
            if kind == RST_STREAM and number == 0:
                continue
            header = _HEADER.pack(0, len(payload), kind, 0, number)
            with contextlib.suppress(OSError):
                self._client.sendall(header + payload)
        self._injected.clear()
