"""All attacks below the calls that gRPC makes, and how often each comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random

from siren_grpc.abuse import call_attacks, frame_attacks
from siren_grpc.abuse.outcome import Outcome

Attack = Callable[[str, Random, float], Awaitable[Outcome]]
"""Attacks a target; the deadline in seconds is for the server's answer. May raise OSError."""

ATTACKS: tuple[tuple[Attack, float], ...] = (
    # A request's seed chooses by the order: do not change it.
    (frame_attacks.no_http2, 10),
    (frame_attacks.bad_frame, 20),
    (frame_attacks.truncated, 15),
    (call_attacks.rapid_reset, 3),
    (frame_attacks.flood, 3),
    (frame_attacks.endless_headers, 5),
    (call_attacks.huge_metadata, 4),
    (call_attacks.odd_headers, 12),
    (call_attacks.bad_framing, 12),
    (call_attacks.gzip_bomb, 0.5),
    (frame_attacks.never_reads, 4),
    (call_attacks.dribble, 5),
    (frame_attacks.vanish, 10),
)
"""The attacks, and how often each comes."""
