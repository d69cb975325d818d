"""One live stream: sends its packets when they are due and notes when results come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from random import Random
from time import monotonic

from siren_client import AsyncSirenClient, Control, Final, Partial, RecognitionOptions, SirenError
from siren_grpc.bench.audio import Speech, to_pcm
from siren_grpc.bench.latency import Latency, LatencyBook
from siren_grpc.bench.schedule import Packet, packets
from siren_grpc.domain.work import Samples

_SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class Script:
    """What a stream sends: its audio, and behind which packets it says FINALIZE."""

    pcm: bytes
    sample_rate_hertz: int
    packets: Sequence[Packet]
    finalized_behind: frozenset[int]
    """`end_samples` of packets."""


@dataclass(slots=True)
class StreamReport:
    """What became of one stream; times in seconds on the monotonic clock."""

    partials: list[Latency] = field(default_factory=list)
    finals: list[Latency] = field(default_factory=list)
    n_unanswered: int = 0
    n_sent: int = 0
    n_received: int = 0
    lags_s: list[float] = field(default_factory=list)
    """How late the generator handed over each packet by its own fault."""
    held_up_s: float = 0.0
    """How long flow control kept due packets back, all together."""
    error: str | None = None


def write_script(
    recordings: Sequence[Samples],
    *,
    sample_rate_hertz: int,
    seconds: float,
    packet_ms: int,
    jitter_ms: float,
    seed: int,
) -> Script:
    """Prepare a stream of so many seconds: recordings and pauses, FINALIZE at each pause's end."""
    random = Random(seed)
    speech = Speech(recordings, sample_rate_hertz=sample_rate_hertz, seed=seed)
    parts: list[bytes] = []
    pause_ends: list[int] = []
    length = 0
    while length < seconds * sample_rate_hertz:
        part, is_pause = speech.next_part()
        parts.append(to_pcm(part))
        length += len(part)
        if is_pause:
            pause_ends.append(length)
    length = int(seconds * sample_rate_hertz)
    plan = packets(
        length,
        sample_rate_hertz=sample_rate_hertz,
        packet_ms=packet_ms,
        jitter_ms=jitter_ms,
        random=random,
    )
    behind = frozenset(
        packet.end_samples
        for packet in plan[:-1]
        if any(packet.start_samples < end <= packet.end_samples for end in pause_ends)
    )
    pcm = b"".join(parts)[: length * _SAMPLE_BYTES]
    return Script(pcm, sample_rate_hertz, plan, behind)


async def play(
    client: AsyncSirenClient, script: Script, options: RecognitionOptions, *, start_at: float
) -> StreamReport:
    """Play a stream from a moment of the monotonic clock on; never raises for a failed call."""
    hertz = script.sample_rate_hertz
    options = {**options, "sample_rate_hertz": hertz}
    report = StreamReport()
    book = LatencyBook()
    await _sleep_until(start_at)
    audio = _send(script, book, report, start_at)
    try:
        # A break is to be seen here, not to be healed; and nothing is kept for it.
        async for result in client.stream(audio, reconnect=None, **options):
            now = monotonic()
            report.n_received += 1
            if isinstance(result, Partial):
                position = round(result.audio_processed_s * hertz)
                _append(report.partials, book.partial(position, now))
            elif isinstance(result, Final):
                _append(report.finals, book.final(now))
    except SirenError as error:
        report.error = str(getattr(error.reason, "value", error.reason) or error.status.name)
    report.n_unanswered = book.n_unanswered
    return report


def _append(latencies: list[Latency], latency: Latency | None) -> None:
    if latency is not None:
        latencies.append(latency)


async def _send(
    script: Script, book: LatencyBook, report: StreamReport, start_at: float
) -> AsyncIterator[bytes | Control]:
    ready_at = start_at
    for packet in script.packets:
        due_at = start_at + packet.due_s
        await _sleep_until(due_at)
        now = monotonic()
        if ready_at > due_at:
            # Flow control kept it: the sound is heard late through the server's fault, and the
            # latency counts from when it was due. The generator is not to blame.
            report.held_up_s += ready_at - due_at
            report.lags_s.append(now - ready_at)
            handed_at = due_at
        else:
            report.lags_s.append(now - due_at)
            handed_at = now
        book.sent_packet(packet.end_samples, handed_at)
        report.n_sent += 1
        yield script.pcm[packet.start_samples * _SAMPLE_BYTES : packet.end_samples * _SAMPLE_BYTES]
        if packet.end_samples in script.finalized_behind:
            book.sent_end(monotonic())
            yield Control.FINALIZE
        ready_at = monotonic()
    book.sent_end(monotonic())


async def _sleep_until(moment: float) -> None:
    delay = moment - monotonic()
    if delay > 0:
        await asyncio.sleep(delay)
