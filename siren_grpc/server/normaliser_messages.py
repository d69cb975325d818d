"""What a front end and its normaliser's process tell each other.

To the normaliser: `NormaliserSetup` first, then `Prepare` and `Write`. Back, in the same order:
`Prepared` and `Wrote`.
"""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.text.normalisation import Task, Written


@dataclass(frozen=True, slots=True)
class NormaliserSetup:
    """What a normaliser starts with. cache: folder of compiled grammars, None for none."""

    log_level: str
    cache: str | None


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load a language's grammar."""

    language: str


@dataclass(frozen=True, slots=True)
class Prepared:
    """The grammar is there, or has failed to load; the cause is in the log."""

    language: str
    is_ready: bool


@dataclass(frozen=True, slots=True)
class Write:
    """Write words of a language that is prepared."""

    number: int
    language: str
    task: Task


@dataclass(frozen=True, slots=True)
class Wrote:
    """What became of the `Write` of this number."""

    number: int
    written: Written
