"""Opus packets of a container (RFC 7845, RFC 6716)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from siren_grpc.audio.codec import MOST_CHANNELS, Codec, PacketError
from siren_grpc.audio.format import AudioFormat, Block
from siren_grpc.domain.errors import InvalidAudio

HERTZ = 48000
"""What Opus is decoded at, whatever its encoder was given."""
_LEAST_HEAD_BYTES = 19
_MOST_PACKET_SAMPLES = HERTZ * 120 // 1000


@dataclass(frozen=True, slots=True)
class OpusHead:
    """The identification header (RFC 7845, 5.1). input_hertz: 0 for unsaid."""

    data: bytes
    n_channels: int
    pre_skip: int
    input_hertz: int

    @classmethod
    def of(cls, data: bytes) -> OpusHead:
        """Read it. Raises InvalidAudio for one that is damaged or that nobody can decode."""
        if len(data) < _LEAST_HEAD_BYTES or not data.startswith(b"OpusHead"):
            raise InvalidAudio("the Opus header is damaged: there is no OpusHead")
        version, n_channels, pre_skip, hertz, _, family = struct.unpack_from("<BBHIhB", data, 8)
        most = 2 if family == 0 else MOST_CHANNELS
        if version >= 16 or family > 1 or not 1 <= n_channels <= most:
            raise InvalidAudio(
                f"the Opus header asks for version {version}, channel mapping {family} and "
                f"{n_channels} channels; send version 1, mapping 0 or 1, and 1 to "
                f"{MOST_CHANNELS} channels"
            )
        return cls(data, n_channels, pre_skip, hertz)

    @property
    def format(self) -> AudioFormat:
        """What it says of the stream."""
        others = (self.input_hertz,) if self.input_hertz else ()
        return AudioFormat("Opus", HERTZ, self.n_channels, others)


class OpusPackets:
    """Decodes the packets of one stream; the encoder's run-in, the pre-skip, is left out."""

    def __init__(self, head: OpusHead) -> None:
        """Start before the first."""
        # Given the header, libav leaves out the pre-skip by itself.
        self._codec = Codec("opus", hertz=HERTZ, n_channels=head.n_channels, head=head.data)
        self._n_channels = head.n_channels

    def decode(self, packet: bytes) -> Block:
        """Decode a packet. Raises PacketError for one that is not Opus."""
        if not packet:
            raise PacketError("it is empty")
        if packet_samples(packet) > _MOST_PACKET_SAMPLES:
            raise PacketError("it is longer than 120 ms")
        return self._codec.decode(packet)


def packet_samples(packet: bytes) -> int:
    """Return how much audio a packet that is not empty holds, at 48 kHz (RFC 6716, 3.1)."""
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:  # SILK
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:  # hybrid
        frame = (480, 960)[config & 1]
    else:  # CELT
        frame = 120 << (config & 3)
    n_frames = (1, 2, 2)[code] if code < 3 else (packet[1] & 63 if len(packet) > 1 else 0)
    return frame * n_frames
