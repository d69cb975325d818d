"""Messages of one client whose channels are recognised each by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from siren_grpc.audio.source import make_source
from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import InvalidAudio, InvalidMessage
from siren_grpc.domain.work import EndStream, Feed, OnChannel, StreamOptions, Work
from siren_grpc.session.ingress import Ingress, IngressConfig


class SeparateIngress:
    """Decodes the audio once, and is to a stream what one `Ingress` is: each channel has its own.

    What it returns is tagged with the channel, but for one `EndStream` behind all others' work.
    """

    def __init__(self, config: IngressConfig) -> None:
        """Start before the first audio. config: with the number of channels."""
        self._source = make_source(config.audio)
        n_channels = config.audio.channels.n_transcripts
        self._channels = tuple(Ingress(config, self._source) for _ in range(n_channels))

    @property
    def channels(self) -> tuple[Ingress, ...]:
        """What each channel is cut by."""
        return self._channels

    @property
    def received_samples(self) -> int:
        """Audio received, in samples at the model's rate: the same in each channel."""
        return self._channels[0].received_samples

    @property
    def is_ended(self) -> bool:
        """Whether END was received, or the stream was ended for it."""
        return self._channels[0].is_ended

    def audio_pieces(self, data: bytes, seq: int) -> Iterator[list[Feed]]:
        """Take the next audio message; see `Ingress.audio_pieces`."""
        for channel in self._channels:
            channel.note(len(data), seq)
        yield from self._heard(self._source.push, data)

    def finalize(self, cause: FinalCause = FinalCause.FINALIZE) -> list[Feed]:
        """End the utterance of each channel here."""
        return _tagged([channel.finalize(cause) for channel in self._channels])

    def reset(self) -> list[Feed]:
        """Throw the utterances and all recognition state away."""
        return _tagged([channel.reset() for channel in self._channels])

    def reconfigure(self, options: StreamOptions) -> list[Feed]:
        """Apply other options from the next chunk on."""
        return _tagged([channel.reconfigure(options) for channel in self._channels])

    def end(self) -> list[Feed]:
        """End the utterances and the stream; see `Ingress.end`. Raises InvalidMessage likewise."""
        if self.is_ended:
            raise InvalidMessage("ACTION_END after ACTION_END; open a new stream to send more")
        work = [item for piece in self._heard(self._source.finish) for item in piece]
        if any(isinstance(item, EndStream) for item in work):
            return work
        return [*work, *_tagged([channel.close() for channel in self._channels])]

    def _heard(
        self, decode: Callable[..., Iterable[NDArray[np.float32]]], *data: bytes
    ) -> Iterator[list[Feed]]:
        try:
            for block in decode(*data):
                yield self._hear(block)
                if self.is_ended:
                    return
        except InvalidAudio as error:
            yield _tagged([channel.fail(error) for channel in self._channels])

    def _hear(self, block: NDArray[np.float32]) -> list[Feed]:
        is_one = block.ndim == 1  # of one channel, or before anything is known
        columns = [block] * len(self._channels) if is_one else np.ascontiguousarray(block.T)
        pairs = zip(self._channels, columns, strict=True)
        return _tagged([channel.hear(samples) for channel, samples in pairs])


def _tagged(works: Sequence[Sequence[Work]]) -> list[Feed]:
    """Join the channels' work; all of them end if one does, and for the same reason."""
    fed: list[Feed] = []
    end: EndStream | None = None
    for number, work in enumerate(works):
        for item in work:
            if isinstance(item, EndStream):
                end = item
            else:
                fed.append(OnChannel(number, item))
    return fed if end is None else [*fed, end]
