"""What a client says of its audio: protocol messages to the domain and back."""

from __future__ import annotations

from siren.v1 import speech_pb2 as pb

from siren_grpc.audio.channels import MOST_CHANNELS, ChannelMode, ChannelPlan
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import DEFAULT_HERTZ, MAX_HERTZ, MIN_HERTZ, AudioSpec
from siren_grpc.domain.errors import InvalidConfig

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
    """Check what a config says of the audio. Raises InvalidConfig naming the field."""
    encoding = _ENCODINGS.get(config.encoding)
    if encoding is None:
        known = ", ".join(pb.AudioEncoding.Name(n) for n in sorted(PB_ENCODINGS.values()))
        raise InvalidConfig.of_field("encoding", f"unknown value {config.encoding}; use {known}")
    hertz = config.sample_rate_hertz
    if hertz and not MIN_HERTZ <= hertz <= MAX_HERTZ:
        unset = f"{DEFAULT_HERTZ}" if encoding.is_raw else "what the audio says"
        raise InvalidConfig.of_field(
            "sample_rate_hertz",
            f"{hertz} is out of range; use {MIN_HERTZ} to {MAX_HERTZ}, or 0 for {unset}",
        )
    if encoding.is_raw:
        hertz = hertz or DEFAULT_HERTZ
    return AudioSpec(encoding, hertz, _to_channels(config, encoding))


def _to_channels(config: pb.StreamingConfig, encoding: Encoding) -> ChannelPlan:
    count = config.channel_count
    if not 0 <= count <= MOST_CHANNELS:
        raise InvalidConfig.of_field(
            "channel_count", f"{count} is out of range; use 0 to {MOST_CHANNELS}"
        )
    if encoding.is_raw:
        count = count or 1
    mode = _MODES.get(config.channel_mode)
    if mode is None:
        known = ", ".join(pb.ChannelMode.Name(n) for n in sorted(PB_MODES.values()))
        raise InvalidConfig.of_field(
            "channel_mode", f"unknown value {config.channel_mode}; use {known}"
        )
    if mode is ChannelMode.SEPARATE and not config.channel_count:
        raise InvalidConfig.of_field(
            "channel_count",
            f"is needed for CHANNEL_MODE_SEPARATE; use 1 to {MOST_CHANNELS}: each channel takes a "
            "session of the server before the audio begins",
        )
    if mode is not ChannelMode.SELECT and config.channel:
        raise InvalidConfig.of_field("channel", "is for CHANNEL_MODE_SELECT only; leave it unset")
    if not 0 <= config.channel < (count or MOST_CHANNELS):
        raise InvalidConfig.of_field(
            "channel",
            f"{config.channel} is out of range; use 0 to {(count or MOST_CHANNELS) - 1}"
            + ("" if config.channel_count else ", or say channel_count"),
        )
    return ChannelPlan(count, mode, config.channel)
