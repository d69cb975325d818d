"""Conversions between the wire's messages and this package's types. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

from siren_client.endpointing import (
    Endpointing,
    from_cause,
    from_endpointing,
    to_endpointing,
)
from siren_client.types import (
    Alternative,
    AudioEncoding,
    ChannelMode,
    Control,
    Decoder,
    Final,
    LookAhead,
    Model,
    Partial,
    PhraseOption,
    Recognition,
    Result,
    SpeechEvent,
    SpeechEventType,
    Started,
    Update,
    Updated,
    Word,
)

_ENCODINGS = {
    AudioEncoding.LINEAR16: pb.AUDIO_ENCODING_LINEAR16,
    AudioEncoding.FLOAT32: pb.AUDIO_ENCODING_FLOAT32,
    AudioEncoding.MULAW: pb.AUDIO_ENCODING_MULAW,
    AudioEncoding.ALAW: pb.AUDIO_ENCODING_ALAW,
    AudioEncoding.AUTO: pb.AUDIO_ENCODING_AUTO,
    AudioEncoding.WAV: pb.AUDIO_ENCODING_WAV,
    AudioEncoding.FLAC: pb.AUDIO_ENCODING_FLAC,
    AudioEncoding.OGG_OPUS: pb.AUDIO_ENCODING_OGG_OPUS,
    AudioEncoding.WEBM_OPUS: pb.AUDIO_ENCODING_WEBM_OPUS,
    AudioEncoding.MP3: pb.AUDIO_ENCODING_MP3,
}
_CHANNEL_MODES = {
    ChannelMode.MIX: pb.CHANNEL_MODE_MIX,
    ChannelMode.SELECT: pb.CHANNEL_MODE_SELECT,
    ChannelMode.SEPARATE: pb.CHANNEL_MODE_SEPARATE,
}
_DECODERS = {
    Decoder.RNNT: pb.DECODER_RNNT,
    Decoder.CTC: pb.DECODER_CTC,
    Decoder.TDT: pb.DECODER_TDT,
}
_ACTIONS = {
    Control.FINALIZE: pb.Control.ACTION_FINALIZE,
    Control.RESET: pb.Control.ACTION_RESET,
    Control.END: pb.Control.ACTION_END,
}
_EVENT_TYPES = {
    SpeechEventType.SPEECH_STARTED: pb.SpeechEvent.TYPE_SPEECH_STARTED,
    SpeechEventType.SPEECH_ENDED: pb.SpeechEvent.TYPE_SPEECH_ENDED,
    SpeechEventType.SERVER_DRAINING: pb.SpeechEvent.TYPE_SERVER_DRAINING,
}

_ENCODINGS_BY_NUMBER = {int(number): member for member, number in _ENCODINGS.items()}
_CHANNEL_MODES_BY_NUMBER = {int(number): member for member, number in _CHANNEL_MODES.items()}
_DECODERS_BY_NUMBER = {int(number): member for member, number in _DECODERS.items()}
_EVENT_TYPES_BY_NUMBER = {int(number): member for member, number in _EVENT_TYPES.items()}

_Choice = TypeVar("_Choice", bound=Enum)


def to_config(
    *,
    model: str | None = None,
    language_code: str | None = None,
    encoding: AudioEncoding | str | None = None,
    sample_rate_hertz: int | None = None,
    channel_count: int | None = None,
    channel_mode: ChannelMode | str | None = None,
    channel: int | None = None,
    chunk_frames: int | None = None,
    decoder: Decoder | str | None = None,
    words: bool | None = None,
    partial_words: bool | None = None,
    max_alternatives: int | None = None,
    endpointing: Endpointing | None = None,
    partial_interval_ms: int | None = None,
    lower_case: bool = False,
    inverse_text_normalization: bool = False,
    mask: Sequence[str] = (),
    mask_profanity: bool = False,
    request_id: str | None = None,
    phrases: Sequence[PhraseOption] = (),
    phrase_boost: float | None = None,
) -> pb.StreamingConfig:
    """Build the config of `RecognitionOptions`; None leaves a field to the server.

    Raises:
        TypeError: phrases or masks that are one string, or phrases that hold something else.
        ValueError: an encoding, mode or decoder that does not exist, or a number the
            field cannot hold. Whether the server supports a value, it says itself.
    """
    if isinstance(mask, str):
        raise TypeError(f"mask must be a sequence of words, such as [{mask!r}], not a string")
    config = pb.StreamingConfig()
    if model is not None:
        config.model = model
    if language_code is not None:
        config.language_code = language_code
    if encoding is not None:
        config.encoding = _ENCODINGS[_choose(AudioEncoding, encoding)]
    if sample_rate_hertz is not None:
        config.sample_rate_hertz = sample_rate_hertz
    if channel_count is not None:
        config.channel_count = channel_count
    if channel_mode is not None:
        config.channel_mode = _CHANNEL_MODES[_choose(ChannelMode, channel_mode)]
    if channel is not None:
        config.channel = channel
    if chunk_frames is not None:
        config.chunk_frames = chunk_frames
    if decoder is not None:
        config.decoder = _DECODERS[_choose(Decoder, decoder)]
    if words is not None:
        config.words = words
    if partial_words is not None:
        config.partial_words = partial_words
    if max_alternatives is not None:
        config.max_alternatives = max_alternatives
    if endpointing is not None:
        config.endpointing.CopyFrom(to_endpointing(endpointing))
    if partial_interval_ms is not None:
        config.partial_interval_ms = partial_interval_ms
    text = pb.TextOptions(
        lower_case=lower_case,
        inverse_text_normalization=inverse_text_normalization,
        masked_words=mask,
        mask_profanity=mask_profanity,
    )
    if text != pb.TextOptions():
        config.text.CopyFrom(text)
    if request_id is not None:
        config.request_id = request_id
    biasing = _to_biasing(phrases, phrase_boost)
    if biasing != pb.BiasingConfig():
        config.biasing.CopyFrom(biasing)
    return config


def _to_biasing(phrases: Sequence[PhraseOption], boost: float | None) -> pb.BiasingConfig:
    if isinstance(phrases, str):
        raise TypeError(f"phrases must be a list of phrases, not one string: [{phrases!r}]")
    return pb.BiasingConfig(phrases=[_to_phrase(phrase) for phrase in phrases], boost=boost)


def _to_phrase(phrase: PhraseOption) -> pb.Phrase:
    if isinstance(phrase, str):
        return pb.Phrase(text=phrase)
    text, boost = phrase
    return pb.Phrase(text=text, boost=boost)


def to_recognize_request(audio: object, config: pb.StreamingConfig) -> pb.RecognizeRequest:
    """Build the request for a complete recording.

    Raises:
        TypeError: The audio is not bytes.
    """
    if not isinstance(audio, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"a recording must be bytes, not {type(audio).__name__}: a file's are "
            "Path(name).read_bytes(), with encoding='auto'"
        )
    return pb.RecognizeRequest(config=config, audio=bytes(audio))


def to_config_request(config: pb.StreamingConfig) -> pb.StreamingRecognizeRequest:
    """Wrap the config, the first request of a stream."""
    return pb.StreamingRecognizeRequest(config=config)


def to_audio_request(data: bytes, *, seq: int) -> pb.StreamingRecognizeRequest:
    """Wrap a stretch of audio; seq 0 leaves it unnumbered."""
    return pb.StreamingRecognizeRequest(audio=pb.AudioChunk(data=data, seq=seq))


def to_control_request(control: Control) -> pb.StreamingRecognizeRequest:
    """Wrap a control."""
    return pb.StreamingRecognizeRequest(control=pb.Control(action=_ACTIONS[control]))


def to_update_request(update: Update) -> pb.StreamingRecognizeRequest:
    """Wrap an update."""
    message = pb.ConfigUpdate(partial_interval_ms=update.partial_interval_ms)
    if update.endpointing is not None:
        message.endpointing.CopyFrom(to_endpointing(update.endpointing))
    if update.phrases is not None:
        message.biasing.CopyFrom(_to_biasing(update.phrases, update.phrase_boost))
    return pb.StreamingRecognizeRequest(update=message)


def from_response(response: pb.StreamingRecognizeResponse) -> Result | None:
    """Read one message of a stream; None for a kind this client does not know.

    A later server may send kinds of results and events that a client of today
    cannot show; they are no reason to end its stream.
    """
    match response.WhichOneof("response"):
        case "started":
            return from_started(response.started)
        case "partial":
            return from_partial(response.partial)
        case "final":
            return from_final(response.final)
        case "event":
            return from_event(response.event)
        case "updated":
            return from_updated(response.updated)
        case None:
            return None


def from_started(message: pb.StreamStarted) -> Started:
    """Read what the server chose."""
    return Started(
        session_id=message.session_id,
        model=message.model,
        language_code=message.language_code,
        encoding=_ENCODINGS_BY_NUMBER.get(message.encoding),
        sample_rate_hertz=message.sample_rate_hertz,
        chunk_frames=message.chunk_frames,
        latency_ms=message.latency_ms,
        decoder=_DECODERS_BY_NUMBER.get(message.decoder),
        request_id=message.request_id,
        channel_count=message.channel_count,
        channel_mode=_CHANNEL_MODES_BY_NUMBER.get(message.channel_mode),
    )


def from_partial(message: pb.PartialResult) -> Partial:
    """Read a partial."""
    return Partial(
        text=message.text,
        stable_len=message.stable_len,
        seq=message.seq,
        audio_processed_s=from_duration(message.audio_processed),
        audio_received_s=from_duration(message.audio_received),
        words=tuple(from_word(word) for word in message.words),
        channel=message.channel,
    )


def from_final(message: pb.FinalResult) -> Final:
    """Read a final."""
    return Final(
        text=message.text,
        seq=message.seq,
        start_s=from_duration(message.start_time),
        end_s=from_duration(message.end_time),
        cause=from_cause(message.cause),
        audio_received_s=from_duration(message.audio_received),
        delay_s=from_duration(message.delay),
        spoken_text=message.spoken_text,
        words=tuple(from_word(word) for word in message.words),
        confidence=message.confidence if message.HasField("confidence") else None,
        language_code=message.language_code,
        alternatives=tuple(
            Alternative(text=other.text, probability=round(other.probability, 4))
            for other in message.alternatives
        ),
        channel=message.channel,
    )


def from_word(message: pb.WordInfo) -> Word:
    """Read a word."""
    return Word(
        text=message.text,
        start_s=from_duration(message.start_time),
        end_s=from_duration(message.end_time),
        confidence=round(message.confidence, 4) if message.HasField("confidence") else None,
        is_stable=message.is_stable,
    )


def from_event(message: pb.SpeechEvent) -> SpeechEvent | None:
    """Read an event; None for a type this client does not know."""
    event_type = _EVENT_TYPES_BY_NUMBER.get(message.type)
    if event_type is None:
        return None
    return SpeechEvent(
        type=event_type,
        time_s=from_duration(message.time),
        channel=message.channel,
        grace_left_s=from_duration(message.grace_left) if message.HasField("grace_left") else None,
    )


def from_updated(message: pb.ConfigUpdated) -> Updated:
    """Read what holds since an update."""
    has_endpointing = message.HasField("endpointing")
    return Updated(
        time_s=from_duration(message.time),
        endpointing=from_endpointing(message.endpointing) if has_endpointing else None,
        partial_interval_ms=message.partial_interval_ms,
        phrases=message.phrases,
    )


def from_recognize_response(response: pb.RecognizeResponse) -> Recognition:
    """Read what was said in a recording."""
    return Recognition(
        started=from_started(response.started),
        finals=tuple(from_final(result) for result in response.results),
    )


def from_list_models_response(response: pb.ListModelsResponse) -> list[Model]:
    """Read the server's models, in its order."""
    return [from_model(model) for model in response.models]


def from_model(message: pb.Model) -> Model:
    """Read a model."""
    return Model(
        id=message.id,
        family=message.family,
        language_codes=tuple(message.language_codes),
        sample_rate_hertz=message.sample_rate_hertz,
        look_aheads=tuple(
            LookAhead(
                chunk_frames=look_ahead.chunk_frames,
                latency_ms=look_ahead.latency_ms,
                is_default=look_ahead.is_default,
            )
            for look_ahead in message.look_aheads
        ),
        decoders=_from_decoders(message.decoders),
        is_default=message.is_default,
        has_end_token=message.has_end_token,
        has_vad=message.has_vad,
        biasing_decoders=_from_decoders(message.biasing_decoders),
    )


def _from_decoders(numbers: Iterable[int]) -> tuple[Decoder, ...]:
    return tuple(_DECODERS_BY_NUMBER[number] for number in numbers if number in _DECODERS_BY_NUMBER)


def from_duration(duration: Duration) -> float:
    """Read a length of time, in seconds."""
    return duration.seconds + duration.nanos / 1e9


def _choose(kind: type[_Choice], value: _Choice | str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(repr(member.value) for member in kind)
        raise ValueError(f"{value!r} is not one of {names}") from None
