"""Calls that gRPC carries and the server must refuse, or bear: generated from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf.message import DecodeError
from siren.v1 import speech_pb2 as pb

from siren_grpc.abuse import extremes, mutations
from siren_grpc.abuse.corrupt_audio import corrupt
from siren_grpc.abuse.outcome import ANY_FAULT_OF_THE_CLIENT

_SPEECH = "/siren.v1.SpeechService/"
STREAM, RECOGNIZE, LIST = (
    _SPEECH + name for name in ("StreamingRecognize", "Recognize", "ListModels")
)
_HEALTH = "/grpc.health.v1.Health/Check"
_REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
_MESSAGE, _CONFIG = frozenset({"INVALID_MESSAGE"}), frozenset({"INVALID_CONFIG"})
_DEFINED = ANY_FAULT_OF_THE_CLIENT | {"OK"}
_Request = pb.StreamingRecognizeRequest


@dataclass(frozen=True, slots=True)
class BadCall:
    """A call: its serialised messages, and the reasons it may end with (and `OK`).

    is_grpcs_own: gRPC may refuse it before the server's code sees it.
    """

    name: str
    method: str
    messages: tuple[bytes, ...]
    expected: frozenset[str]
    is_grpcs_own: bool = False


def config(**fields: Any) -> _Request:
    """Return a first message."""
    return _Request(config=pb.StreamingConfig(**fields))


def audio(data: bytes = b"", seq: int = 0) -> _Request:
    """Return an audio message."""
    return _Request(audio=pb.AudioChunk(data=data, seq=seq))


def control(action: int) -> _Request:
    """Return a control message."""
    return _Request(control=pb.Control(action=action))  # type: ignore[arg-type]  # any number


def _call(name: str, messages: list[_Request], expected: frozenset[str]) -> BadCall:
    return BadCall(name, STREAM, tuple(m.SerializeToString() for m in messages), expected)


def malformed(random: Random) -> BadCall:
    """Return a call with a message whose bytes are damaged."""
    method = random.choices((STREAM, RECOGNIZE, LIST, _HEALTH, _REFLECTION), (8, 2, 1, 1, 1))[0]
    name = random.choice(list(mutations.ALL))
    first = config(language_code="en", sample_rate_hertz=8000, words=True)
    valid = random.choice((first, audio(bytes(20), 3), control(1))).SerializeToString()
    bad = mutations.ALL[name](valid, random)
    before = (first.SerializeToString(),) if method == STREAM and random.random() < 0.5 else ()
    # Some damage makes another message: then whatever is said of that.
    expected = _DEFINED | {"NOT_FOUND"} if _is_readable(method, bad) else _MESSAGE
    is_other = method in (_HEALTH, _REFLECTION)
    return BadCall(f"malformed {name}", method, (*before, bad), expected, is_other)


def _is_readable(method: str, data: bytes) -> bool:
    if method not in (STREAM, RECOGNIZE):
        return True
    message = _Request() if method == STREAM else pb.RecognizeRequest()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return False
    return True


def oneof(random: Random) -> BadCall:
    """Return a call that sets none of a message's members, or several."""
    members = [config(), audio(b"\0\0", 1), control(3), _Request(update=pb.ConfigUpdate())]
    members.append(_Request(resume=pb.Resume(token="x")))
    if random.random() < 0.3:
        empty = [_Request()] if random.random() < 0.5 else [config(), _Request()]
        return _call("oneof none", empty, _MESSAGE)
    # On the wire several may be set: the last one is it.
    chosen = random.sample(members, random.randint(2, 4))
    last = chosen[-1].WhichOneof("request")
    expected = {"config": frozenset({"OK"}), "resume": _CONFIG}.get(str(last), _MESSAGE)
    data = b"".join(m.SerializeToString() for m in chosen)
    return BadCall("oneof several", STREAM, (data,), expected)


def order(random: Random) -> BadCall:
    """Return a call whose messages come in an order that the protocol does not know."""
    seq = random.choice((2, 1000, 2**31, 2**63 - 1))
    end = control(3)
    resume = _Request(resume=pb.Resume(token=random.randbytes(12).hex(), last_result=1))
    update = _Request(update=pb.ConfigUpdate(partial_interval_ms=5))
    name, messages, expected = random.choice(
        [
            ("nothing", [], _MESSAGE),
            ("audio first", [audio(b"\0\0")], _MESSAGE),
            ("control first", [control(random.choice((1, 2, 3)))], _MESSAGE),
            ("update first", [update], _MESSAGE),
            ("second config", [config(), config()], _MESSAGE),
            ("late second config", [config(), audio(bytes(320)), config()], _MESSAGE),
            ("resume of nothing", [resume], _CONFIG),
            ("resume behind config", [config(), resume], _MESSAGE),
            ("discard of nothing", [_Request(resume=pb.Resume(discard=True))], _CONFIG),
            ("audio behind END", [config(), end, audio(b"\0\0")], _MESSAGE),
            ("config behind END", [config(), end, config()], _MESSAGE),
            ("two ENDs", [config(), end, end], _MESSAGE),
            ("no action", [config(), control(0)], _MESSAGE),
            ("unknown action", [config(), control(random.choice((4, 99, -1)))], _MESSAGE),
            ("seq back", [config(), audio(b"\0\0", seq), audio(b"\0\0", seq - 1)], _MESSAGE),
            ("seq again", [config(), audio(b"\0\0", seq), audio(b"\0\0", seq)], _MESSAGE),
            ("half a sample", [config(), audio(b"\0")], frozenset({"INVALID_AUDIO"})),
        ]
    )
    return _call(f"order {name}", messages, expected)


_NUMBERS = tuple(extremes.numeric_fields(_Request.DESCRIPTOR))


def number(random: Random) -> BadCall:
    """Return a call with an extreme number in one of the fields that hold numbers."""
    return number_in(random.choice(_NUMBERS), random)


def number_in(path: extremes.Path, random: Random) -> BadCall:
    """Return a call with an extreme number in a field."""
    value = random.choice(extremes.values_for(path[-1]))
    message = _Request()
    extremes.put(message, path, value)
    root, name = path[0].name, ".".join(field.name for field in path)
    if root == "audio":
        expected = _MESSAGE if value < 0 else frozenset({"OK"})
    elif root == "control":
        expected = _MESSAGE
    elif root == "resume" or extremes.is_never_valid(path[-1], value):
        expected = _CONFIG
    else:
        expected = _CONFIG | {"OK"}
    if name.endswith("phrases.boost"):
        phrases = (message.update if root == "update" else message.config).biasing.phrases
        phrases[0].text = "seven"
    messages = [message] if root in ("config", "resume") else [config(), message]
    return _call(f"number {name} = {value}", messages, expected)


def strange_config(random: Random) -> BadCall:
    """Return a call whose config is odd: long lists and texts, rare scripts, combinations."""
    text = random.choice(("", "\0", "é" * 300, "\u202e\U0001f3a4", "x" * 100_000, "en\n", " en "))
    many = random.choice((0, 1, 999, 1001, 5000) if len(text) < 1000 else (0, 1, 9))
    made = pb.StreamingConfig()
    changes: list[Callable[[], object]] = [
        lambda: setattr(made, "model", text),
        lambda: setattr(made, "language_code", text),
        lambda: setattr(made, "request_id", text),
        lambda: setattr(made, "encoding", random.randint(0, 10)),
        lambda: setattr(made, "sample_rate_hertz", random.choice((8000, 11_025, 48_000))),
        lambda: setattr(made, "channel_count", random.randint(0, 8)),
        lambda: setattr(made, "channel", random.randint(0, 8)),
        lambda: setattr(made, "channel_mode", random.randint(0, 2)),
        lambda: setattr(made, "chunk_frames", random.choice((0, 1, 2, 7, 14))),
        lambda: setattr(made, "decoder", random.randint(0, 3)),
        lambda: setattr(made, "partial_words", True),
        lambda: made.text.masked_words.extend([text or "a"] * many),
        lambda: made.biasing.phrases.extend([pb.Phrase(text=text or "one")] * many),
        lambda: made.biasing.phrases.add(text="one " * 60),
        lambda: setattr(made.endpointing, "detector", random.randint(0, 4)),
        lambda: setattr(made.endpointing, "single_utterance", True),
        lambda: setattr(made, "resumable", True),
    ]
    for change in random.sample(changes, random.randint(1, 4)):
        change()
    messages = [_Request(config=made)]
    if random.random() < 0.5:
        messages.append(audio(random.randbytes(random.choice((1, 2, 640, 6400))), 1))
    # So that one that can be resumed ends; the others would anyhow.
    return _call("strange config", [*messages, control(3)], _DEFINED)


def strange_audio(random: Random) -> BadCall:
    """Return a call whose audio is not what it says it is."""
    name, encoding, parts = corrupt(random)
    messages = [config(encoding=encoding), *(audio(part) for part in parts)]
    return _call(f"audio {name}", messages, frozenset({"OK", "INVALID_AUDIO"}))


def recording(random: Random) -> BadCall:
    """Return a `Recognize` that is odd."""
    base = random.choice((oneof, order, number, strange_config, strange_audio))(random)
    request = pb.RecognizeRequest(audio=random.randbytes(random.choice((0, 1, 2, 3000))))
    for data in base.messages[:1]:
        request.config.CopyFrom(_Request.FromString(data).config)
    return BadCall("recording", RECOGNIZE, (request.SerializeToString(),), _DEFINED)


def wrong_arity(random: Random) -> BadCall:
    """Return a call with too many or too few messages for its method, or of no method."""
    # gRPC's own: the first message is taken, and a method that is not there is UNIMPLEMENTED.
    name, method, messages = random.choice(
        [
            ("unary as a stream", LIST, (b"",) * random.randint(2, 9)),
            ("unary without a message", LIST, ()),
            ("recording without a message", RECOGNIZE, ()),
            ("two recordings", RECOGNIZE, (b"", b"")),
            ("no such method", _SPEECH + "Recognise", (b"",)),
            ("no such service", "/x/y", (b"",)),
            ("odd path", random.choice(("/", "//", "/" + "x" * 3000)), (b"",)),
        ]
    )
    return BadCall(f"arity {name}", method, messages, frozenset(), is_grpcs_own=True)


def too_large(random: Random) -> BadCall:
    """Return a call with a message beyond any limit."""
    data = audio(bytes((33 << 20) + random.randrange(1 << 16))).SerializeToString()
    first = config().SerializeToString()
    return BadCall("too large", STREAM, (first, data), frozenset({"RESOURCE_EXHAUSTED"}), True)


FAMILIES: tuple[tuple[Callable[[Random], BadCall], float], ...] = (
    (malformed, 30.0),
    (oneof, 8.0),
    (order, 20.0),
    (number, 22.0),
    (strange_config, 8.0),
    (strange_audio, 6.0),
    (recording, 4.0),
    (wrong_arity, 4.0),
    (too_large, 0.02),
)
"""Kinds of bad calls, and how often each comes."""
