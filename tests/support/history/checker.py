"""What a client may observe of a stream: a reference model, rule by rule. Pure.

Each rule reads a whole history and says where it is broken. `check` applies all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.support.history.record import (
    AUDIO,
    BAD,
    FINALIZE,
    RESET,
    UPDATE,
    Begun,
    Ended,
    Essence,
    History,
    Left,
    Sent,
    Told,
)

_LAST_CAUSES = {"END", "SESSION_LIMIT", "SHUTDOWN"}
_SERVER_ENDS = {"SHUTTING_DOWN", "INTERNAL_ERROR"}
"""A server that is stopped, or dies, may do so at any time; its world says whether it was."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, and where."""

    rule: str
    what: str


def check(history: History) -> list[Violation]:
    """Return everything that must not have been observed."""
    return [Violation(rule.__name__, what) for rule in RULES for what in rule(history)]


def started_comes_first(history: History) -> Iterator[str]:
    """Each call that is answered is answered with `started` first, and once."""
    for call in _calls(history):
        kinds = [told.kind for told in history.told() if told.call == call]
        if kinds and kinds[0] != "started":
            yield f"call {call} begins with {kinds[0]}"
        if kinds.count("started") > 1:
            yield f"call {call} has {kinds.count('started')} started"


def a_call_ends_once(history: History) -> Iterator[str]:
    """Exactly one end for each call, and nothing of it behind that."""
    for call in _calls(history):
        own = [record for record in history.records if record.call == call]
        ends = [i for i, record in enumerate(own) if isinstance(record, (Ended, Left))]
        if len(ends) != 1:
            yield f"call {call} has {len(ends)} ends"
        if ends and any(isinstance(record, Told) for record in own[ends[0] :]):
            yield f"call {call} was told something behind its end"


def a_resumed_stream_is_the_same(history: History) -> Iterator[str]:
    """A resumed call names the same session, and has taken what was sent, never less than once."""
    known: Told | None = None
    resumes = {r.call: r.last_result is not None for r in history.records if isinstance(r, Begun)}
    sent = 0
    taken = 0
    for record in history.records:
        if isinstance(record, Sent) and record.op < len(history.script.ops):
            sent = max(sent, record.op + 1)
        if not isinstance(record, Told) or record.kind != "started":
            continue
        if not resumes[record.call]:
            known, taken = record, 0
            continue
        if known is None or (record.session, record.token) != (known.session, known.token):
            yield f"call {record.call} resumed another stream"
        if not taken <= record.value <= sent:
            yield f"call {record.call}: {record.value} requests received of {sent}, before {taken}"
        taken = record.value


def what_is_stable_stays(history: History) -> Iterator[str]:
    """Promise 1, within each utterance; ACTION_RESET begins another."""
    stable = ""
    resets = _places(history, RESET)
    for told in history.told("partial", "final"):
        while resets and _is_behind(told, resets[0]):
            resets.pop(0)
            stable = ""
        if not told.text.startswith(stable):
            yield f"{told.text!r} behind stable {stable!r}"
        if told.kind == "final":
            stable = ""
            continue
        if not len(stable) <= told.stable_len <= len(told.text):
            yield f"stable_len {told.stable_len} of {told.text!r} behind {len(stable)}"
        stable = told.text[: told.stable_len]


def seq_is_what_is_accounted_for(history: History) -> Iterator[str]:
    """Promise 2: the largest seq all of whose audio lies before the result's place."""
    ends = []
    n_bytes = 0
    for op in history.script.ops:
        n_bytes += len(op.data)
        if op.kind == AUDIO and op.seq:
            ends.append((op.seq, n_bytes))
    for told in history.told("partial", "final"):
        # A message that ends within a sample counts before the other half, or with it.
        least = max((seq for seq, end in ends if (end + 1) // 2 <= told.end), default=0)
        most = max((seq for seq, end in ends if end // 2 <= told.end), default=0)
        if told.seq not in (least, most):
            yield f"{told.kind} at {told.end} has seq {told.seq}, not {most}"


def nothing_is_heard_before_it_is_sent(history: History) -> Iterator[str]:
    """No result speaks of audio that the client has not sent."""
    sent = 0
    for record in history.records:
        if isinstance(record, Sent):
            sent = max(sent, history.script.samples_before(record.op + 1))
        elif isinstance(record, Told) and record.end > sent:
            yield f"{record.kind} at {record.end} of {sent} sent"


def finals_follow_one_another(history: History) -> Iterator[str]:
    """Finals are in order, do not overlap, and no partial reaches back before the last."""
    last = 0
    resets = _places(history, RESET)
    for told in history.told("partial", "final"):
        if told.kind == "partial":
            if told.end < last:
                yield f"partial at {told.end} behind the final to {last}"
            continue
        if not last <= told.start <= told.end:
            yield f"final from {told.start} to {told.end} behind {last}"
        if any(told.start < reset < told.end for reset in resets):
            yield f"final from {told.start} to {told.end} over a reset"
        last = told.end


def each_finalize_has_its_final(history: History) -> Iterator[str]:
    """One final for each ACTION_FINALIZE, where it stands, in order; all if the stream ends OK."""
    told = [final.end for final in history.told("final") if final.cause == "FINALIZE"]
    due = _places(history, FINALIZE)
    if told != due[: len(told)]:
        yield f"finals of FINALIZE at {told}, asked for at {due}"
    if history.end == "OK" and not history.script.is_single and len(told) != len(due):
        yield f"{len(told)} finals of {len(due)} FINALIZE"


def an_ok_stream_is_complete(history: History) -> Iterator[str]:
    """Promise 4: the last final reaches to the last sample, and nothing follows it."""
    finals = history.told("final")
    for i, told in enumerate(history.told()):
        if told.kind == "final" and told.cause in _LAST_CAUSES:
            behind = [t.kind for t in history.told()[i + 1 :] if t.kind != "started"]
            if behind:
                yield f"{behind} behind the final of cause {told.cause}"
    if history.end != "OK":
        return
    if not finals:
        yield "no final"
    elif history.script.is_single:
        if len(finals) != 1:
            yield f"{len(finals)} finals of a single utterance"
    elif (finals[-1].cause, finals[-1].end) != ("END", history.script.n_samples):
        yield f"ends with {finals[-1]}, of {history.script.n_samples} samples"


def speech_starts_and_ends(history: History) -> Iterator[str]:
    """Events come in pairs around the finals with text, each in its time."""
    is_speaking = False
    last = 0
    resets = _places(history, RESET)
    for told in history.told("event", "final"):
        if told.cause == "SERVER_DRAINING":
            continue  # of the server, at a time of its own
        while resets and _is_behind(told, resets[0]):
            resets.pop(0)
            is_speaking = False
        if told.kind == "final":
            if is_speaking:
                yield f"the final to {told.end} comes before its end of speech"
            continue
        if is_speaking == (told.cause == "SPEECH_STARTED"):
            yield f"{told.cause} at {told.end}, {'speaking' if is_speaking else 'silent'} already"
        if told.end < last:
            yield f"{told.cause} at {told.end} behind {last}"
        is_speaking, last = told.cause == "SPEECH_STARTED", told.end


def updates_are_acknowledged(history: History) -> Iterator[str]:
    """One answer for each update, in order, none before its place."""
    asked = [op.value for op in history.script.ops if op.kind == UPDATE]
    told = [updated.value for updated in history.told("updated")]
    if told != asked[: len(told)]:
        yield f"updates {told} of {asked}"
    if history.end == "OK" and not history.script.is_single and len(told) != len(asked):
        yield f"{len(told)} answers to {len(asked)} updates"


def nothing_is_told_twice_or_left_out(history: History) -> Iterator[str]:
    """Over all calls of a resumable stream, its results are numbered from 1 on without a gap."""
    numbers = [told.number for told in history.told() if told.kind in ("final", "event", "updated")]
    is_resumable = any(started.token for started in history.told("started"))
    expected = list(range(1, len(numbers) + 1)) if is_resumable else [0] * len(numbers)
    if numbers != expected:
        yield f"numbers {numbers}"


def it_ends_as_it_must(history: History) -> Iterator[str]:
    """The last status is one that the script, and nothing else, can end with."""
    if history.end not in {"", "OVERLOADED", *history.script.ends}:
        yield f"ended with {history.end}, not {sorted(history.script.ends)}"
    for record in history.records:
        if not isinstance(record, Ended):
            continue
        is_answered = any(told.call == record.call for told in history.told())
        if record.reason == "OVERLOADED" and is_answered:
            yield f"call {record.call} was refused behind its start"
        if record.reason == "":
            yield f"call {record.call} ended without a reason"


def it_reads_as_undisturbed(history: History) -> Iterator[str]:
    """Promise 3: what settles is what the same audio gives in one piece and in peace."""
    if history.twin is None:
        return
    # The final of a server that stops is of an utterance cut short.
    settled = [
        told
        for told in history.told("final", "event", "updated")
        if told.cause not in ("SHUTDOWN", "SERVER_DRAINING")
    ]
    # INVALID_CONFIG: it broke, and its server keeps none any more that could be resumed.
    # A single utterance that is cut short ends its stream with OK.
    has_cut_final = any(final.cause == "SHUTDOWN" for final in history.told("final"))
    is_cut = has_cut_final or history.end in {*_SERVER_ENDS, "INVALID_CONFIG"}
    if is_cut and settled and settled[-1].cause == "SPEECH_ENDED":
        settled.pop()  # of the utterance cut short
    told = tuple(result.essence for result in settled)
    twin = history.twin
    if has_cut_final:
        # Its last chunk ended with it, so its speech is told of at other moments, or not at all.
        n_finals = sum(result.kind == "final" for result in settled)
        told, twin = (_without_speech_behind(n_finals, results) for results in (told, twin))
    if any(op.bad == "poison" for op in history.script.ops):
        # A preview may hear it before a reset takes it away, in either of the two.
        told = told[: len(twin)]
    if told != twin[: len(told)]:
        place = next(
            (i for i, (a, b) in enumerate(zip(told, twin, strict=False)) if a != b),
            len(twin),
        )
        yield f"result {place}: {told[place : place + 1]}, undisturbed {twin[place:][:1]}"
    is_whole = history.end in history.script.ends and not is_cut
    is_bad = any(op.kind == BAD for op in history.script.ops)
    if is_whole and not is_bad and len(told) < len(twin):
        yield f"{len(told)} of {len(twin)} results: {twin[len(told)]} is missing"


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    started_comes_first,
    a_call_ends_once,
    a_resumed_stream_is_the_same,
    what_is_stable_stays,
    seq_is_what_is_accounted_for,
    nothing_is_heard_before_it_is_sent,
    finals_follow_one_another,
    each_finalize_has_its_final,
    an_ok_stream_is_complete,
    speech_starts_and_ends,
    updates_are_acknowledged,
    nothing_is_told_twice_or_left_out,
    it_ends_as_it_must,
    it_reads_as_undisturbed,
)


def _without_speech_behind(n_finals: int, results: Sequence[Essence]) -> tuple[Essence, ...]:
    """Return results without the starts and ends of speech behind the n-th final."""
    kept = []
    for result in results:
        if n_finals > 0 or result[0] != "event":
            kept.append(result)
        n_finals -= result[0] == "final"
    return tuple(kept)


def _is_behind(told: Told, reset: int) -> bool:
    """Whether a result belongs to what follows an ACTION_RESET, at a place."""
    if told.kind == "event" and told.cause == "SPEECH_STARTED":
        return told.end >= reset
    return told.end > reset or (told.kind == "final" and told.start >= reset)


def _calls(history: History) -> list[int]:
    return [record.call for record in history.records if isinstance(record, Begun)]


def _places(history: History, kind: str) -> list[int]:
    ops = history.script.ops
    return [history.script.samples_before(i) for i, op in enumerate(ops) if op.kind == kind]
