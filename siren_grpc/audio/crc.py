"""Cyclic redundancy checks over many bytes at once, of the kinds zlib does not have."""

from __future__ import annotations

import functools

import numpy as np

_BLOCK_BYTES = 512


class Crc:
    """A CRC that shifts left, starts at 0 and is not inverted: FLAC's CRC-16, Ogg's CRC-32.

    Such a CRC is linear: each byte adds, by exclusive or, what it and its distance from the end
    determine, and the state so far adds what the same bits in front would. So the bytes of a
    block are looked up all at once.
    """

    def __init__(self, polynomial: int, n_bits: int) -> None:
        """Make the tables. n_bits: 16 or 32."""
        self._n_bytes = n_bits // 8
        mask = (1 << n_bits) - 1
        top = n_bits - 8
        dtype = np.uint16 if n_bits == 16 else np.uint32
        table = np.arange(256, dtype=np.uint64) << np.uint64(top)
        for _ in range(8):
            carry = (table >> np.uint64(n_bits - 1)) & np.uint64(1)
            table = ((table << np.uint64(1)) & np.uint64(mask)) ^ (carry * np.uint64(polynomial))
        rows = [table]
        for _ in range(_BLOCK_BYTES - 1):
            last = rows[-1]
            high = (last >> np.uint64(top)).astype(np.intp)
            rows.append(((last << np.uint64(8)) & np.uint64(mask)) ^ table[high])
        # The row of the first byte of a full block comes first.
        self._rows = np.stack(rows[::-1]).astype(dtype)
        self._all = np.arange(_BLOCK_BYTES)

    def update(self, state: int, data: bytes) -> int:
        """Return the CRC of what gave `state` and then `data`; 0 is that of nothing."""
        for start in range(0, len(data), _BLOCK_BYTES):
            state = self._block(state, data[start : start + _BLOCK_BYTES])
        return state

    def _block(self, state: int, block: bytes) -> int:
        width = self._n_bytes
        in_front = min(width, len(block))
        head = state.to_bytes(width, "big")
        codes = np.frombuffer(block, np.uint8).copy()
        codes[:in_front] ^= np.frombuffer(head[:in_front], np.uint8)
        rows = self._rows[_BLOCK_BYTES - len(block) :]
        added = int(np.bitwise_xor.reduce(rows[self._all[: len(block)], codes]))
        # A block shorter than the state leaves the rest of it, shifted.
        return added ^ (int.from_bytes(head[in_front:], "big") << (8 * in_front))


@functools.cache
def flac_crc() -> Crc:
    """Return the CRC-16 over a FLAC frame: 0 over a whole one (RFC 9639, 9.3)."""
    return Crc(0x8005, 16)


@functools.cache
def ogg_crc() -> Crc:
    """Return the CRC-32 of an Ogg page (RFC 3533, 6)."""
    return Crc(0x04C11DB7, 32)
