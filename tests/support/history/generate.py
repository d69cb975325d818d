"""Draws what a stream does, and what happens to it. The same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from siren.v1 import speech_pb2 as pb

from tests.support.history.record import AUDIO, BAD, END, FINALIZE, RESET, UPDATE, Op, Script

POISON = b"\x00\x80"
"""A sample of full negative scale: the double's step fails on it."""
MAX_SAMPLES = 16_000
"""The longest stream a server allows, in worlds where it has such a limit."""
_RULES = (
    *[None] * 5,
    *[pb.EndpointingConfig(min_silence_ms=300, state="STATE_SOFT")] * 2,
    pb.EndpointingConfig(min_silence_ms=300, state="STATE_HARD"),
    pb.EndpointingConfig(max_utterance_ms=1000),
    pb.EndpointingConfig(min_silence_ms=240, single_utterance=True),
)
_BAD = {
    "second config": "INVALID_MESSAGE",
    "empty": "INVALID_MESSAGE",
    "action": "INVALID_MESSAGE",
    "seq": "INVALID_MESSAGE",
    "update": "INVALID_CONFIG",
    "poison": "MODEL_ERROR",
    "half sample": "INVALID_AUDIO",
    "behind the end": "INVALID_MESSAGE",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What happens to a stream on its way.

    breaks: before which requests its call breaks. latency_s: how long responses are on their way;
    those that are when a call breaks never arrive.
    cancels: before which request its client leaves for good. is_slow: its client reads slowly.
    is_discarded: the client says that it will not come back.
    """

    breaks: tuple[int, ...] = ()
    latency_s: float = 0.0
    cancels: int | None = None
    is_slow: bool = False
    is_discarded: bool = False


def draw(
    seed: int, *, max_samples: int | None = None, speech: Sequence[bytes] = ()
) -> tuple[Script, Trouble]:
    """Draw a stream and its trouble. speech: PCM to cut its sounds from; without, it is noise."""
    rng = random.Random(seed)
    rules = rng.choice(_RULES)
    is_single = rules is not None and rules.single_utterance
    bad = rng.choice(list(_BAD)) if rng.random() < 0.15 and not is_single else ""
    if bad == "poison" and speech:
        bad = ""  # a real model has no such weakness
    ops = _ops(rng, bad, speech)
    ends = {_BAD[bad]} if bad else {"OK"}
    if bad in ("behind the end", "poison"):
        ends.add("OK")  # it may come when the status is on its way; a reset may be before it
    script = Script(b"", ops, frozenset(ends), is_single, max_samples)
    if max_samples is not None and script.n_samples > max_samples:
        script = Script(b"", ops, frozenset({*ends, "SESSION_TOO_LONG"}), is_single, max_samples)
    trouble = _trouble(rng, len(ops))
    config = pb.StreamingConfig(
        chunk_frames=rng.choice([2, 2, 7]),
        resumable=bool(trouble.breaks) or trouble.is_discarded or rng.random() < 0.1,
        endpointing=rules,
        partial_interval_ms=rng.choice([0, 0, 100]),
    )
    return (
        Script(config.SerializeToString(), ops, script.ends, script.is_single, script.max_samples),
        trouble,
    )


def _ops(rng: random.Random, bad: str, speech: Sequence[bytes]) -> tuple[Op, ...]:
    ops: list[Op] = []
    seq = 0
    for _ in range(rng.randint(1, 4)):
        pcm = _sound(rng, speech)
        at = 0
        while at < len(pcm):
            size = int(10 ** rng.uniform(1, 4.3))
            is_numbered = rng.random() < 0.9
            seq += is_numbered * rng.randint(1, 3)
            ops.append(Op(AUDIO, pcm[at : at + size], seq if is_numbered else 0))
            at += size
        action = rng.random()
        if action < 0.45:
            ops.append(Op(FINALIZE))
        elif action < 0.6:
            ops.append(Op(RESET))
        elif action < 0.75:
            ops.append(Op(UPDATE, value=rng.choice([0, 80, 200])))
    if bad in ("half sample", "behind the end"):
        if bad == "half sample":
            ops.append(Op(AUDIO, b"\x01", bad=bad))
        ops += [Op(END), *([Op(BAD, bad=bad)] if bad == "behind the end" else [])]
        return tuple(ops)
    if bad:
        at = rng.randint(0, len(ops))
        ops.insert(at, _bad_op(bad, at, ops))
    if rng.random() < 0.4:
        ops.append(Op(END))
    return tuple(ops)


def _bad_op(bad: str, at: int, ops: list[Op]) -> Op:
    """Return a request that must be refused: all before it still counts."""
    if bad == "poison":
        return Op(BAD, POISON * 200, bad=bad)
    if bad == "seq":
        last = max((op.seq for op in ops[:at]), default=0)
        return Op(BAD, bytes(2), seq=last or -1, bad=bad)
    return Op(BAD, bad=bad)


def _sound(rng: random.Random, speech: Sequence[bytes]) -> bytes:
    """Return loud and silent stretches, 0 to 1.5 s in all; of speech up to three seconds each."""
    if speech:
        start = 2 * rng.randrange(16_000)
        silence = bytes(2 * rng.randrange(16_000))
        return rng.choice(speech)[start : start + 2 * rng.randrange(48_000)] + silence
    parts = []
    for _ in range(rng.randint(0, 3)):
        n_samples = rng.randrange(1, 8000)
        loud = rng.random() < 0.6
        parts.append(rng.randbytes(2 * n_samples).replace(POISON, b"\x01\x01") if loud else b"")
        parts.append(b"" if loud else bytes(2 * n_samples))
    return b"".join(parts)


def _trouble(rng: random.Random, n_ops: int) -> Trouble:
    kind = rng.random()
    if kind < 0.3:
        return Trouble()
    if kind < 0.42:
        return Trouble(is_slow=True)
    if kind < 0.52:
        return Trouble(cancels=rng.randint(0, n_ops + 1))
    if kind < 0.57:
        return Trouble(cancels=rng.randint(0, n_ops + 1), is_discarded=True)
    places = sorted(rng.randint(0, n_ops + 1) for _ in range(rng.randint(1, 4)))
    return Trouble(tuple(places), rng.choice([0.0, 0.0, 0.002, 0.01]), is_slow=rng.random() < 0.2)


def undisturbed(script: Script) -> Script:
    """Return the same stream in as few messages as can be."""
    ops: list[Op] = []
    for op in script.ops:
        if op.kind == AUDIO and not op.bad and ops and ops[-1].kind == AUDIO:
            ops[-1] = Op(AUDIO, ops[-1].data + op.data, max(op.seq, ops[-1].seq))
        else:
            ops.append(op)
    config = pb.StreamingConfig.FromString(script.config)
    config.resumable = False
    return Script(
        config.SerializeToString(), tuple(ops), script.ends, script.is_single, script.max_samples
    )


def to_request(op: Op) -> pb.StreamingRecognizeRequest:
    """Return what is sent for a request of a script."""
    if op.kind == AUDIO or op.bad in ("poison", "seq"):
        return pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=op.data, seq=op.seq))
    if op.kind == UPDATE:
        return pb.StreamingRecognizeRequest(update=pb.ConfigUpdate(partial_interval_ms=op.value))
    if op.bad == "update":
        return pb.StreamingRecognizeRequest(update=pb.ConfigUpdate(partial_interval_ms=-7))
    if op.bad == "second config":
        return pb.StreamingRecognizeRequest(config=pb.StreamingConfig())
    if op.bad == "action":
        return pb.StreamingRecognizeRequest(control=pb.Control(action=77))  # type: ignore[arg-type]
    if op.bad == "behind the end":
        return pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=bytes(2)))
    if op.bad:
        return pb.StreamingRecognizeRequest()
    action = {FINALIZE: "ACTION_FINALIZE", RESET: "ACTION_RESET", END: "ACTION_END"}[op.kind]
    return pb.StreamingRecognizeRequest(control=pb.Control(action=action))  # type: ignore[arg-type]
