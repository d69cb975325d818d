"""What the engine's process and a front end's process tell each other, beside sessions' messages.

To the front end: `FrontEndSetup` first; then `Catalog`, `EngineDied`, `Beat`, `Stop`,
and lists of `Delivery`. To the engine's process: `Bound` or `NotBound` first,
then lists of `Message`. A front end that has stopped closes its end. Questions and answers:
`inspection_messages`.
"""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.observe.logging import LogFormat
from siren_grpc.observe.tracing import TracingMode
from siren_grpc.server.front_end import Catalog, FrontEndConfig


@dataclass(frozen=True, slots=True)
class FrontEndSetup:
    """What a front end starts with.

    number: its sessions' ids carry it. catalog: what it serves from its first call on; None while
    no model is loaded.
    """

    config: FrontEndConfig
    number: int
    log_level: str
    log_format: LogFormat
    tracing: TracingMode
    catalog: Catalog | None = None

    @property
    def process(self) -> str:
        """What logs, metrics and traces call it."""
        return process_name(self.number)


def process_name(number: int) -> str:
    """Return what logs, metrics and traces call a front end."""
    return f"front_end_{number}"


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
class Beat:
    """A sign of life, every `LOOK_EVERY_S`. is_stuck: a step seems to have no end."""

    is_stuck: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Drain and stop. in_haste: grant running streams no more time; may follow a first `Stop`."""

    in_haste: bool
