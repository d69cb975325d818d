"""Bytes that look like a message and are none."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_VARINT, _FIXED64, _LENGTH, _START_GROUP, _END_GROUP, _FIXED32 = range(6)
_MOST_NESTED = 3000


def varint(value: int) -> bytes:
    """Encode a number of at most 64 bits."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """Encode what stands before a field's value."""
    return varint(number << 3 | wire_type)


def truncated(valid: bytes, random: Random) -> bytes:
    """Cut a message somewhere."""
    return valid[: random.randrange(len(valid))] if valid else b"\x0a"


def flipped(valid: bytes, random: Random) -> bytes:
    """Change some of its bytes."""
    data = bytearray(valid or b"\x0a\x00")
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] = random.randrange(256)
    return bytes(data)


def wrong_wire_type(valid: bytes, random: Random) -> bytes:
    """Give a field that is a message, or a number, as something else."""
    number = random.randint(1, 5)
    kind = random.choice((_VARINT, _FIXED64, _FIXED32, 6, 7))
    return valid + tag(number, kind) + random.randbytes(random.choice((0, 1, 3, 4, 8)))


def endless_varint(valid: bytes, random: Random) -> bytes:
    """End in a varint that goes on for too long, or is cut off."""
    return valid + tag(random.randint(1, 19), _VARINT) + b"\xff" * random.randint(1, 20)


def huge_length(valid: bytes, random: Random) -> bytes:
    """Announce more bytes than there are."""
    length = random.choice((2**7, 2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1))
    return valid + tag(random.randint(1, 5), _LENGTH) + varint(length) + random.randbytes(3)


def deep(valid: bytes, random: Random) -> bytes:
    """Nest messages or groups far deeper than anybody means them."""
    depth = random.choice((99, 101, 500, _MOST_NESTED))
    if random.random() < 0.5:
        return valid + tag(99, _START_GROUP) * depth + tag(99, _END_GROUP) * depth
    nested = b""
    for _ in range(min(depth, 500)):
        nested = tag(1, _LENGTH) + varint(len(nested)) + nested
    return nested


def open_group(valid: bytes, random: Random) -> bytes:
    """Begin a group that never ends, or end one that never began."""
    return valid + tag(random.randint(1, 99), random.choice((_START_GROUP, _END_GROUP)))


def field_zero(valid: bytes, random: Random) -> bytes:
    """Use the field number that none has."""
    return valid + tag(0, random.choice((_VARINT, _LENGTH))) + b"\x00"


def bad_utf8(valid: bytes, random: Random) -> bytes:
    """Write a string of the config that is no UTF-8."""
    text = random.choice((b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80"))
    field = tag(random.choice((1, 2, 19)), _LENGTH) + varint(len(text)) + text
    return tag(1, _LENGTH) + varint(len(field)) + field


def noise(valid: bytes, random: Random) -> bytes:
    """Send what was never a message."""
    return random.randbytes(random.choice((1, 2, 7, 64, 1024, 20_000)))


ALL: dict[str, Callable[[bytes, Random], bytes]] = {
    mutate.__name__: mutate
    for mutate in (
        *(truncated, flipped, wrong_wire_type, endless_varint, huge_length, deep, open_group),
        *(field_zero, bad_utf8, noise),
    )
}
