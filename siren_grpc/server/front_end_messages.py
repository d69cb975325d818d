"""What the engine's process and a front end's process tell each other, beside sessions' messages.

To the front end: `FrontEndSetup` first; then `Catalog`, `EngineDied`, `Stop`, `census.TakeCensus`
and lists of `Delivery`. To the engine's process: `Bound` or `NotBound` first, then lists of
`Message`. A front end that has stopped closes its end.
"""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.server.front_end import FrontEndConfig


@dataclass(frozen=True, slots=True)
class FrontEndSetup:
    """What a front end starts with. number: its sessions' ids carry it."""

    config: FrontEndConfig
    number: int
    log_level: str


@dataclass(frozen=True, slots=True)
class Bound:
    """The front end listens."""

    port: int


@dataclass(frozen=True, slots=True)
class NotBound:
    """The front end cannot listen, and ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class EngineDied:
    """The stepper is dead: end all sessions."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Drain and stop. in_haste: grant running streams no more time; may follow a first `Stop`."""

    in_haste: bool
