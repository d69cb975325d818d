"""A stream's bytes to samples, whatever the bytes are; and which bytes are which samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from siren_grpc.audio.byte_stream import ByteStream
from siren_grpc.audio.channels import MOST_CHANNELS, ChannelMode, ChannelPlan, to_heard
from siren_grpc.audio.decode import AudioDecoder, Encoding
from siren_grpc.audio.detect import parse
from siren_grpc.audio.format import AudioFormat
from siren_grpc.domain.errors import InvalidAudio
from siren_grpc.domain.work import Samples

MIN_HERTZ, MAX_HERTZ = 8000, 48000
DEFAULT_HERTZ = 16000
_PIECE_S = 1.0
_RAW_PIECE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """What a client says of its audio. sample_rate_hertz: 0 for what the audio itself says."""

    encoding: Encoding
    sample_rate_hertz: int
    channels: ChannelPlan = field(default_factory=ChannelPlan)


class AudioSource(Protocol):
    """Decodes one stream; messages may cut it anywhere."""

    @property
    def sample_rate_hertz(self) -> int:
        """Of the samples; 0 while the audio has not said."""
        ...

    @property
    def n_samples(self) -> int:
        """Samples decoded so far, in time."""
        ...

    def push(self, data: bytes) -> Iterable[Samples]:
        """Decode what is now complete, in pieces of a second or so as they are asked for.

        Pieces are [n_samples]; where channels are separate, [n_samples, n_channels], or empty.

        Compressed audio may hold much more than its size says: what is not asked for is not
        decoded. Raises InvalidAudio, behind all audio before the fault.
        """
        ...

    def finish(self) -> Iterable[Samples]:
        """Decode the rest: no more bytes come. Raises InvalidAudio when it is truncated."""
        ...

    def samples_at(self, n_bytes: int) -> int | None:
        """Return by which sample all audio of the first so many bytes is decoded.

        None while it is not. n_bytes: not less than at the piece before.
        """
        ...


def make_source(spec: AudioSpec) -> AudioSource:
    """Return what decodes such a stream."""
    return RawSource(spec) if spec.encoding.is_raw else ParsedSource(spec)


class RawSource:
    """Samples without a header."""

    def __init__(self, spec: AudioSpec) -> None:
        """Start at the beginning of a stream."""
        self._encoding = spec.encoding
        self._plan = spec.channels
        self._n_channels = spec.channels.count or 1
        self._frame_bytes = spec.encoding.sample_bytes * self._n_channels
        self._decoder = AudioDecoder(spec.encoding, self._n_channels)
        self._n_bytes = 0
        self._n_samples = 0
        self.sample_rate_hertz = spec.sample_rate_hertz or DEFAULT_HERTZ

    @property
    def n_samples(self) -> int:
        """Samples that are whole; see `AudioSource`."""
        return self._n_samples

    def push(self, data: bytes) -> Iterator[Samples]:
        """Decode the samples that are now complete; see `AudioSource`."""
        for start in range(0, max(1, len(data)), _RAW_PIECE_BYTES):
            piece = data[start : start + _RAW_PIECE_BYTES]
            samples = self._decoder.push(piece)
            self._n_bytes += len(piece)
            self._n_samples += len(samples) // self._n_channels
            if self._n_channels > 1:
                samples = to_heard(samples.reshape(-1, self._n_channels), self._plan)
            yield samples
            if self._decoder.fault is not None:
                raise self._decoder.fault

    def finish(self) -> Iterable[Samples]:
        """Raise InvalidAudio when the audio ends within a sample; see `AudioSource`."""
        if self._decoder.has_split_sample:
            channels = f" in {self._n_channels} channels" if self._n_channels > 1 else ""
            raise InvalidAudio(
                f"the audio ends within a sample: {self._n_bytes} bytes of "
                f"{self._encoding.value}{channels} ({self._frame_bytes} bytes a sample); send "
                "whole samples"
            )
        return ()

    def samples_at(self, n_bytes: int) -> int:
        """Return how many samples so many bytes are, one that is split included."""
        return -(-n_bytes // self._frame_bytes)


class ParsedSource:
    """Audio that says itself what it is, in a container or compressed."""

    def __init__(self, spec: AudioSpec) -> None:
        """Start at the beginning of a stream."""
        self._spec = spec
        self._bytes = ByteStream()
        raw = AudioFormat(
            "LINEAR16", spec.sample_rate_hertz or DEFAULT_HERTZ, spec.channels.count or 1
        )
        self._parser = parse(spec.encoding, self._bytes, raw)
        self._format: AudioFormat | None = None
        self._n_samples = 0
        self._marks: list[tuple[int, int]] = []
        """Since the piece before: bytes read, and samples decoded by then."""
        self._is_done = False
        self._is_whole = False

    @property
    def sample_rate_hertz(self) -> int:
        """Of the samples; 0 while the audio has not said."""
        return 0 if self._format is None else self._format.sample_rate_hertz

    @property
    def n_samples(self) -> int:
        """Samples handed out so far."""
        return self._n_samples

    def push(self, data: bytes) -> Iterator[Samples]:
        """Decode what is now complete; see `AudioSource`."""
        self._bytes.feed(data)
        return self._pieces()

    def finish(self) -> Iterator[Samples]:
        """Decode the rest; see `AudioSource`. Of no bytes at all nothing is missing."""
        if self._bytes.is_untouched:
            return iter(())
        self._bytes.end()
        return self._pieces()

    def samples_at(self, n_bytes: int) -> int | None:
        """Return by which sample so many bytes are decoded; see `AudioSource`."""
        for position, n_samples in self._marks:
            if position >= n_bytes:
                return n_samples
        # Bytes behind the end of the audio hold none.
        return self._n_samples if self._is_whole else None

    def _pieces(self) -> Iterator[Samples]:
        self._marks = []
        held: list[Samples] = []
        n_held = 0
        fault: InvalidAudio | None = None
        while not self._is_done:
            try:
                item = next(self._parser, _OVER)
                if isinstance(item, AudioFormat):
                    self._accept(item)
                    continue
            except InvalidAudio as error:
                fault, item = error, _OVER
            if isinstance(item, np.ndarray):
                held.append(to_heard(item, self._spec.channels))
                n_held += len(item)
                self._marks.append((self._bytes.position, self._n_samples + n_held))
                if n_held < _PIECE_S * self.sample_rate_hertz:
                    continue
            self._is_done = item is _OVER
            is_waiting = item is None
            if fault is None:
                self._marks.append((self._bytes.position, self._n_samples + n_held))
            self._n_samples += n_held
            self._is_whole = self._is_done and fault is None
            yield np.concatenate(held) if held else np.zeros(0, np.float32)
            held, n_held, self._marks = [], 0, []
            if is_waiting:
                return
        if fault is not None:
            raise fault

    def _accept(self, found: AudioFormat) -> None:
        if self._format is not None:
            before = self._format
            if (found.sample_rate_hertz, found.n_channels) != (
                before.sample_rate_hertz,
                before.n_channels,
            ):
                raise InvalidAudio(
                    f"the audio changes from {_described(before)} to {_described(found)}; open a "
                    "new stream for it"
                )
            return
        hertz, plan = found.sample_rate_hertz, self._spec.channels
        if not MIN_HERTZ <= hertz <= MAX_HERTZ:
            raise InvalidAudio(
                f"the audio is {_described(found)}; send {MIN_HERTZ} to {MAX_HERTZ} Hz"
            )
        if not 1 <= found.n_channels <= MOST_CHANNELS:
            raise InvalidAudio(
                f"the audio is {_described(found)}; send 1 to {MOST_CHANNELS} channels"
            )
        asked = self._spec.sample_rate_hertz
        if asked and asked not in (hertz, *found.other_hertz):
            raise InvalidAudio(
                f"config.sample_rate_hertz is {asked}, but the audio is {_described(found)}; "
                "leave it 0, for the audio says it"
            )
        if plan.count and plan.count != found.n_channels:
            raise InvalidAudio(
                f"config.channel_count is {plan.count}, but the audio is {_described(found)}"
            )
        if plan.mode is ChannelMode.SELECT and plan.selected >= found.n_channels:
            raise InvalidAudio(
                f"config.channel is {plan.selected}, but the audio is {_described(found)}, "
                "counted from 0"
            )
        self._format = found


def _described(audio: AudioFormat) -> str:
    channels = "1 channel" if audio.n_channels == 1 else f"{audio.n_channels} channels"
    return f"{audio.name} of {audio.sample_rate_hertz} Hz and {channels}"


_OVER = object()
