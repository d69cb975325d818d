"""What a client says of its audio: protocol messages to the domain and back."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_grpc.audio.channels import MOST_CHANNELS, ChannelMode, ChannelPlan
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import DEFAULT_HERTZ, MAX_HERTZ, MIN_HERTZ, AudioSpec
from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.server.violations import Violations

_ENCODINGS = {
    pb.AUDIO_ENCODING_UNSPECIFIED: Encoding.LINEAR16,
    pb.AUDIO_ENCODING_LINEAR16: Encoding.LINEAR16,
    pb.AUDIO_ENCODING_FLOAT32: Encoding.FLOAT32,
    pb.AUDIO_ENCODING_MULAW: Encoding.MULAW,
    pb.AUDIO_ENCODING_ALAW: Encoding.ALAW,
    pb.AUDIO_ENCODING_AUTO: Encoding.AUTO,
    pb.AUDIO_ENCODING_WAV: Encoding.WAV,
    pb.AUDIO_ENCODING_FLAC: Encoding.FLAC,
    pb.AUDIO_ENCODING_OGG_OPUS: Encoding.OGG_OPUS,
    pb.AUDIO_ENCODING_WEBM_OPUS: Encoding.WEBM_OPUS,
    pb.AUDIO_ENCODING_MP3: Encoding.MP3,
}
PB_ENCODINGS = {encoding: number for number, encoding in _ENCODINGS.items() if number}
_MODES = {
    pb.CHANNEL_MODE_UNSPECIFIED: ChannelMode.MIX,
    pb.CHANNEL_MODE_MIX: ChannelMode.MIX,
    pb.CHANNEL_MODE_SELECT: ChannelMode.SELECT,
    pb.CHANNEL_MODE_SEPARATE: ChannelMode.SEPARATE,
}
PB_MODES = {mode: number for number, mode in _MODES.items() if number}


def to_audio(config: pb.StreamingConfig) -> AudioSpec:
    """Check what a config says of the audio. Raises InvalidConfig naming the fields."""
    faults = Violations()
    encoding: Encoding | None = None
    with faults:
        encoding = _encoding(config.encoding)
    with faults:
        hertz = _hertz(config.sample_rate_hertz, encoding)
    with faults:
        channels = _channels(config, encoding)
    faults.raise_any()
    if encoding is None:
        raise AssertionError("an encoding that is none is a fault of its field")
    return AudioSpec(encoding, hertz, channels)


def _encoding(number: pb.AudioEncoding.ValueType) -> Encoding:
    encoding = _ENCODINGS.get(number)
    if encoding is None:
        known = ", ".join(pb.AudioEncoding.Name(n) for n in sorted(PB_ENCODINGS.values()))
        raise InvalidConfig.of_field("encoding", f"unknown value {number}; use {known}")
    return encoding


def _hertz(hertz: int, encoding: Encoding | None) -> int:
    """Check a sample rate. encoding: None if it is not known, which is no fault of the rate's."""
    if hertz and not MIN_HERTZ <= hertz <= MAX_HERTZ:
        unset = ""
        if encoding is not None:
            unset = f", or 0 for {DEFAULT_HERTZ if encoding.is_raw else 'what the audio says'}"
        raise InvalidConfig.of_field(
            "sample_rate_hertz", f"{hertz} is out of range; use {MIN_HERTZ} to {MAX_HERTZ}{unset}"
        )
    return hertz or (DEFAULT_HERTZ if encoding is not None and encoding.is_raw else 0)


def _channels(config: pb.StreamingConfig, encoding: Encoding | None) -> ChannelPlan:
    """Check what a config says of channels. encoding: None if it is not known."""
    faults = Violations()
    count: int | None = None
    mode: ChannelMode | None = None
    with faults:
        count = _count(config.channel_count)
    with faults:
        mode = _mode(config.channel_mode)
    if count == 0 and encoding is not None and encoding.is_raw:
        count = 1
    with faults:
        if mode is ChannelMode.SEPARATE and not config.channel_count:
            raise InvalidConfig.of_field(
                "channel_count",
                f"is needed for CHANNEL_MODE_SEPARATE; use 1 to {MOST_CHANNELS}: each channel "
                "takes a session of the server before the audio begins",
            )
    with faults:
        _check_channel(config, mode, count or MOST_CHANNELS)
    faults.raise_any()
    if count is None or mode is None:
        raise AssertionError("a count or a mode that is none is a fault of its field")
    return ChannelPlan(count, mode, config.channel)


def _count(count: int) -> int:
    if not 0 <= count <= MOST_CHANNELS:
        raise InvalidConfig.of_field(
            "channel_count", f"{count} is out of range; use 0 to {MOST_CHANNELS}"
        )
    return count


def _mode(number: pb.ChannelMode.ValueType) -> ChannelMode:
    mode = _MODES.get(number)
    if mode is None:
        known = ", ".join(pb.ChannelMode.Name(n) for n in sorted(PB_MODES.values()))
        raise InvalidConfig.of_field("channel_mode", f"unknown value {number}; use {known}")
    return mode


def _check_channel(config: pb.StreamingConfig, mode: ChannelMode | None, n_channels: int) -> None:
    """Check which channel is selected. mode: None if it is not known.

    n_channels: how many there are; as many as there may be if that is not known.
    """
    if mode not in (None, ChannelMode.SELECT) and config.channel:
        raise InvalidConfig.of_field("channel", "is for CHANNEL_MODE_SELECT only; leave it unset")
    if not 0 <= config.channel < n_channels:
        raise InvalidConfig.of_field(
            "channel",
            f"{config.channel} is out of range; use 0 to {n_channels - 1}"
            + ("" if config.channel_count else ", or say channel_count"),
        )
