"""Decoders of compressed packets: libav's, through PyAV."""

from __future__ import annotations

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from siren_grpc.audio.format import Block


class PacketError(Exception):
    """A packet does not decode."""


class Codec:
    """Decodes the packets of one stream, each by itself and at once, in the caller's thread."""

    def __init__(self, name: str, *, hertz: int, n_channels: int, head: bytes = b"") -> None:
        """Make a decoder.

        name: libav's. head: what the container keeps for the decoder, libav's extradata.
        """
        self._n_channels = n_channels
        context = av.CodecContext.create(name, "r")
        if not isinstance(context, AudioCodecContext):
            raise TypeError(f"{name} is no audio codec")
        if head:
            context.extradata = head
        context.sample_rate = hertz
        context.layout = _LAYOUTS[n_channels]
        # Frame threads would hold a frame back until the next ones come.
        context.thread_count = 1
        context.thread_type = "NONE"
        self._context = context

    def decode(self, packet: bytes) -> Block:
        """Decode one packet, which must not be empty.

        Raises PacketError for one that does not decode, or not to the channels it should.
        """
        try:
            frames = self._context.decode(av.Packet(packet))
        except (av.FFmpegError, ValueError) as error:
            raise PacketError(str(error)) from error
        blocks = [_block(frame) for frame in frames]
        if any(block.shape[1] != self._n_channels for block in blocks):
            raise PacketError(f"it has not the {self._n_channels} channels of the stream's head")
        if len(blocks) == 1:
            return blocks[0]
        return np.concatenate([np.zeros((0, self._n_channels), np.float32), *blocks])


def _block(frame: AudioFrame) -> Block:
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype == np.int16:
        samples = samples.astype(np.float32) * np.float32(2.0**-15)
    elif samples.dtype == np.int32:
        samples = samples.astype(np.float32) * np.float32(2.0**-31)
    block: Block = samples.astype(np.float32, copy=False).T
    return block


_LAYOUTS = {
    1: "mono",
    2: "stereo",
    3: "3.0",
    4: "quad",
    5: "5.0",
    6: "5.1",
    7: "6.1",
    8: "7.1",
}
MOST_CHANNELS = max(_LAYOUTS)
"""As many as FLAC and Opus have."""
