"""A history as data. Audio is 16 kHz LINEAR16, mono; places are samples of the stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from siren.v1 import speech_pb2 as pb

HERTZ = 16000
Essence: TypeAlias = tuple[object, ...]
"""What of a result does not depend on how the audio was sent; its kind first."""

AUDIO, FINALIZE, RESET, UPDATE, END, BAD = "audio", "finalize", "reset", "update", "end", "bad"


@dataclass(frozen=True, slots=True)
class Op:
    """One request of a stream. value: of an update, the interval of partials it asks for.

    bad: what is wrong with it, and the reason it must be refused with.
    """

    kind: str
    data: bytes = b""
    seq: int = 0
    value: int = 0
    bad: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """What a stream is to send. ends: the reasons it may end with, "OK" among them if it may."""

    config: bytes
    ops: tuple[Op, ...]
    ends: frozenset[str]
    is_single: bool = False
    max_samples: int | None = None

    def samples_before(self, op: int) -> int:
        """Whole samples sent before a request; its number may be that of none."""
        return sum(len(o.data) for o in self.ops[:op]) // 2

    @property
    def n_samples(self) -> int:
        """Whole samples of all of it."""
        return self.samples_before(len(self.ops))


@dataclass(frozen=True, slots=True)
class Begun:
    """The client opened a call. last_result: it asked for what follows; None: a new stream."""

    call: int
    last_result: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """The client sent a request of the script; one behind its last is the half-close."""

    call: int
    op: int


@dataclass(frozen=True, slots=True)
class Told:
    """The client got a response.

    kind: started, partial, final, event or updated. start, end: of a final; end of a partial is
    what was processed, of an event and an update its time.
    """

    call: int
    kind: str
    text: str = ""
    stable_len: int = 0
    seq: int = 0
    start: int = 0
    end: int = 0
    cause: str = ""
    number: int = 0
    value: int = 0
    """Of `started` the requests received, of an update its interval."""
    token: str = ""
    session: str = ""

    @property
    def essence(self) -> Essence:
        """What must not depend on how audio is cut, when it comes or what breaks."""
        if self.kind == "final":
            return ("final", self.text, self.start, self.end, self.cause)
        if self.kind == "event":
            return ("event", self.cause, self.end)
        return (self.kind, self.value)


@dataclass(frozen=True, slots=True)
class Left:
    """The client lost the call, or cancelled it: what was under way is gone."""

    call: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The client got the call's status. reason: of its ErrorInfo, "OK" without error."""

    call: int
    reason: str


Record: TypeAlias = Begun | Sent | Told | Left | Ended


@dataclass(slots=True)
class History:
    """A stream from its first call to its last."""

    script: Script
    records: list[Record] = field(default_factory=list)
    twin: tuple[Essence, ...] | None = None
    """The essence of the same script, undisturbed and cut otherwise; None when unknown."""

    def told(self, *kinds: str) -> list[Told]:
        """Return the responses of these kinds, in order; all without any."""
        found = [record for record in self.records if isinstance(record, Told)]
        return [record for record in found if not kinds or record.kind in kinds]

    @property
    def end(self) -> str:
        """How the last call ended; "" when its client left it."""
        ends = [record for record in self.records if isinstance(record, (Ended, Left))]
        return ends[-1].reason if ends and isinstance(ends[-1], Ended) else ""


def to_told(call: int, response: pb.StreamingRecognizeResponse) -> Told:
    """Read a response."""
    kind = response.WhichOneof("response") or "empty"
    number = response.number
    if kind == "started":
        started = response.started
        return Told(
            call,
            kind,
            token=started.resume_token,
            session=started.session_id,
            value=started.received_requests,
        )
    if kind == "partial":
        partial = response.partial
        end = _samples(partial.audio_processed)
        return Told(call, kind, partial.text, partial.stable_len, partial.seq, end=end)
    if kind == "final":
        final = response.final
        return Told(
            call,
            kind,
            final.text,
            seq=final.seq,
            start=_samples(final.start_time),
            end=_samples(final.end_time),
            cause=pb.FinalResult.Cause.Name(final.cause).removeprefix("CAUSE_"),
            number=number,
        )
    if kind == "event":
        cause = pb.SpeechEvent.Type.Name(response.event.type).removeprefix("TYPE_")
        return Told(call, kind, end=_samples(response.event.time), cause=cause, number=number)
    if kind == "updated":
        value = response.updated.partial_interval_ms
        end = _samples(response.updated.time)
        return Told(call, kind, end=end, number=number, value=value)
    return Told(call, kind, number=number)


def _samples(duration) -> int:
    return round(duration.ToNanoseconds() * HERTZ / 1e9)
