"""What connections to a front end may do, and how long they last: options of its gRPC server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Options: TypeAlias = tuple[tuple[str, int], ...]

_LEAST_STREAMS = 4096
_HANDSHAKE_S = 10
_FIXED: Options = (
    # A client whose network died is noticed within 40 s, and its session freed. Proxies see
    # traffic at least every 30 s: most close a connection that is idle for 60 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # a minute by default
    # Clients may ping every 10 s; gRPC's default answers that with GOAWAY. A ping that comes a
    # millisecond early counts against them, so the bound is well below. Those that ping more often
    # than it are told so (too_many_pings) at the third such ping.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 2),
    # Metadata of a call: room for a token and what proxies add. Larger ones are refused with
    # RESOURCE_EXHAUSTED, at random from the soft limit on unless both are the same.
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    # Identity alone: 31 kB of gzip would make the server hold 32 MB, and audio packs no better by
    # it. A packed message is refused with UNIMPLEMENTED.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    # What a client may send ahead of what is read of a stream. gRPC would widen that for whoever
    # sends fast, and keep it wide. This is four seconds of speech at 16 kHz, and twenty times the
    # pace of speech over a connection that takes 200 ms there and back.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 128 << 10),
    # Who connects and does not speak HTTP/2 goes; gRPC's own is 120 s.
    ("grpc.server_handshake_timeout_ms", _HANDSHAKE_S * 1000),
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of each connection; see the settings of the same names.

    max_sessions: of the server; more streams than that on one connection are refused one by one,
    and many more wait in the client until others end.
    """

    max_message_bytes: int
    max_sessions: int
    max_connection_age_s: float | None
    max_connection_age_grace_s: float | None

    @property
    def options(self) -> Options:
        """Return the options of a server that allows no more."""
        age: list[tuple[str, int]] = []
        if self.max_connection_age_s is not None:
            # gRPC spreads it by 10 % each way, so that clients do not all come back at once.
            age.append(("grpc.max_connection_age_ms", _ms(self.max_connection_age_s)))
            if self.max_connection_age_grace_s is not None:
                grace_ms = _ms(self.max_connection_age_grace_s)
                age.append(("grpc.max_connection_age_grace_ms", grace_ms))
        return (
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_concurrent_streams", max(_LEAST_STREAMS, 2 * self.max_sessions)),
            *_FIXED,
            *age,
        )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
