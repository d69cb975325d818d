"""Protocol messages to the domain's types and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.endpointing import FinalCause
from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import (
    AUTO_LANGUAGE,
    LANGUAGE_TAG,
    DecoderKind,
    Lane,
    ModelInfo,
)
from siren_grpc.domain.phrases import Phrases
from siren_grpc.domain.results import (
    Final,
    OfChannel,
    Partial,
    Reconfigured,
    SpeechEvent,
    SpeechEventKind,
)
from siren_grpc.server.audio_options import PB_ENCODINGS, PB_MODES, to_audio
from siren_grpc.server.biasing import to_phrases
from siren_grpc.server.call_id import CallId
from siren_grpc.server.durations import of_seconds, to_duration
from siren_grpc.server.options import to_options, to_updated
from siren_grpc.server.request import ValidConfig
from siren_grpc.server.text_options import to_text_options
from siren_grpc.server.violations import Violations
from siren_grpc.server.words import to_alternatives, to_word_detail, to_words

_DECODERS = {
    pb.DECODER_RNNT: DecoderKind.RNNT,
    pb.DECODER_CTC: DecoderKind.CTC,
    pb.DECODER_TDT: DecoderKind.TDT,
}
_PB_DECODERS = {kind: number for number, kind in _DECODERS.items()}
_EVENTS = {
    SpeechEventKind.SPEECH_STARTED: pb.SpeechEvent.TYPE_SPEECH_STARTED,
    SpeechEventKind.SPEECH_ENDED: pb.SpeechEvent.TYPE_SPEECH_ENDED,
    SpeechEventKind.SERVER_DRAINING: pb.SpeechEvent.TYPE_SERVER_DRAINING,
}
_CAUSES = {
    FinalCause.END: pb.FinalResult.CAUSE_END,
    FinalCause.FINALIZE: pb.FinalResult.CAUSE_FINALIZE,
    FinalCause.SILENCE: pb.FinalResult.CAUSE_SILENCE,
    FinalCause.END_TOKEN: pb.FinalResult.CAUSE_END_TOKEN,
    FinalCause.MAX_UTTERANCE: pb.FinalResult.CAUSE_MAX_UTTERANCE,
    FinalCause.NO_SPEECH: pb.FinalResult.CAUSE_NO_SPEECH,
    FinalCause.SESSION_LIMIT: pb.FinalResult.CAUSE_SESSION_LIMIT,
    FinalCause.SHUTDOWN: pb.FinalResult.CAUSE_SHUTDOWN,
}


def to_config(
    config: pb.StreamingConfig, info: ModelInfo, *, server_masks: frozenset[str] = frozenset()
) -> ValidConfig:
    """Check a config against the model it named, and fill in the defaults.

    server_masks: what `mask_profanity` masks.
    Raises InvalidConfig naming each field that is not right, what it was, and what would be; what
    only follows from another of them is not told.
    """
    faults = Violations()
    decoder: DecoderKind | None = None
    language_code: str | None = None
    phrases: Phrases = ()
    with faults:
        audio = to_audio(config)
    with faults:
        chunk_frames = _chunk_frames(config.chunk_frames, info)
    with faults:
        decoder = _decoder(config.decoder, info)
    with faults:
        language_code = _language(config.language_code, info)
    with faults:
        phrases = to_phrases(config.biasing, info, decoder)
    with faults:
        options = to_options(config, info, n_phrases=len(phrases))
    with faults:
        # Under `auto` nobody but the client may know in which language numbers are to be written.
        is_auto = language_code == AUTO_LANGUAGE and config.language_code
        written_in = config.language_code if is_auto else language_code
        text = to_text_options(config.text, written_in, server_masks)
    with faults:
        alternatives = to_alternatives(config)
    faults.raise_any()
    if decoder is None or language_code is None:
        raise AssertionError("what could not be chosen is a fault of its field")
    return ValidConfig(
        audio=audio,
        language_code=language_code,
        lane=Lane(chunk_frames, decoder, info.id),
        options=options,
        text=text,
        phrases=phrases,
        words=to_word_detail(config),
        is_resumable=config.resumable,
        alternatives=alternatives,
    )


def _chunk_frames(asked: int, info: ModelInfo) -> int:
    chunk_frames = asked or info.default_chunk_frames
    if chunk_frames not in info.look_aheads:
        known = ", ".join(str(frames) for frames in info.look_aheads)
        raise InvalidConfig.of_field(
            "chunk_frames",
            f"model {info.id} was not trained for {chunk_frames}; use {known}, or 0 for "
            f"{info.default_chunk_frames}",
        )
    return chunk_frames


def _decoder(number: pb.Decoder.ValueType, info: ModelInfo) -> DecoderKind:
    if number == pb.DECODER_UNSPECIFIED:
        return info.decoders[0]
    kind = _DECODERS.get(number)
    if kind is None or kind not in info.decoders:
        known = ", ".join(pb.Decoder.Name(_PB_DECODERS[kind]) for kind in info.decoders)
        asked = str(number) if kind is None else pb.Decoder.Name(number)
        raise InvalidConfig.of_field(
            "decoder", f"model {info.id} has no {asked}; use {known}, or leave it unset"
        )
    return kind


def _language(code: str, info: ModelInfo) -> str:
    """Match a language by BCP-47 lookup (RFC 4647, 3.4): drop subtags until one is known.

    A language alone also means the first of its regions (basic filtering, RFC 4647, 3.3.1).
    """
    if not code:
        return info.language_codes[0]
    by_lower = {known.lower(): known for known in info.language_codes}
    subtags = code.lower().split("-")
    while subtags:
        known = by_lower.get("-".join(subtags))
        if known is not None:
            return known
        subtags.pop()
    for known in info.language_codes:
        if known.lower().startswith(f"{code.lower()}-"):
            return known
    if info.language_codes == (AUTO_LANGUAGE,) and LANGUAGE_TAG.fullmatch(code):
        # Nobody knows what it recognises: what the client says may be right, but is no fact.
        return AUTO_LANGUAGE
    raise InvalidConfig.of_field(
        "language_code",
        f"model {info.id} does not recognise {code!r}; use {', '.join(info.language_codes)}, "
        "or leave it unset",
    )


def to_started(call_id: CallId, info: ModelInfo, config: ValidConfig) -> pb.StreamStarted:
    """Say what was chosen for a stream."""
    return pb.StreamStarted(
        session_id=call_id.session,
        request_id=call_id.request,
        model=info.id,
        language_code=config.language_code,
        encoding=PB_ENCODINGS[config.audio.encoding],
        sample_rate_hertz=config.audio.sample_rate_hertz,
        chunk_frames=config.lane.chunk_frames,
        latency_ms=info.geometry(config.lane.chunk_frames).latency_ms,
        decoder=_PB_DECODERS[config.lane.decoder],
        channel_count=config.audio.channels.count,
        channel_mode=PB_MODES[config.audio.channels.mode],
    )


@dataclass(frozen=True, slots=True)
class Reception:
    """What is true of a stream while a result is sent.

    hertz: of all sample counts. received_samples: audio received so far. now: by
    `time.monotonic`.
    """

    hertz: int
    received_samples: int
    now: float


def to_response(
    result: Partial | Final | SpeechEvent | Reconfigured | OfChannel, reception: Reception
) -> pb.StreamingRecognizeResponse:
    """Return a result as the message that carries it."""
    if isinstance(result, OfChannel):
        response = to_response(result.result, reception)
        if response.HasField("partial"):
            response.partial.channel = result.channel
        elif response.HasField("final"):
            response.final.channel = result.channel
        else:
            response.event.channel = result.channel
        return response
    hertz = reception.hertz
    if isinstance(result, Partial):
        partial = pb.PartialResult(
            text=result.text,
            stable_len=result.stable_len,
            seq=result.seq,
            audio_processed=to_duration(result.processed_samples, hertz),
            audio_received=to_duration(reception.received_samples, hertz),
            words=to_words(result.words, hertz),
        )
        return pb.StreamingRecognizeResponse(partial=partial)
    if isinstance(result, Final):
        return pb.StreamingRecognizeResponse(final=to_final(result, reception))
    if isinstance(result, Reconfigured):
        return pb.StreamingRecognizeResponse(updated=to_updated(result, hertz))
    event = pb.SpeechEvent(type=_EVENTS[result.kind], time=to_duration(result.at_samples, hertz))
    if result.grace_s is not None:
        event.grace_left.CopyFrom(of_seconds(result.grace_s))
    return pb.StreamingRecognizeResponse(event=event)


def to_final(result: Final, reception: Reception) -> pb.FinalResult:
    """Return a final as its message."""
    hertz = reception.hertz
    final = pb.FinalResult(
        text=result.text,
        seq=result.seq,
        start_time=to_duration(result.start_samples, hertz),
        end_time=to_duration(result.end_samples, hertz),
        audio_received=to_duration(reception.received_samples, hertz),
        cause=_CAUSES[result.cause],
        spoken_text=result.spoken_text,
        words=to_words(result.words, hertz),
        confidence=result.confidence,
        language_code=result.language_code,
        alternatives=[
            pb.Alternative(text=other.text, probability=other.probability)
            for other in result.alternatives
        ],
    )
    if result.resume_samples is not None:
        final.resume_time.CopyFrom(to_duration(result.resume_samples, hertz))
    if result.heard_at is not None:
        final.delay.CopyFrom(of_seconds(reception.now - result.heard_at))
    return final


def to_model(info: ModelInfo, *, is_default: bool, aliases: Sequence[str] = ()) -> pb.Model:
    """Describe a model to a client."""
    look_aheads = [
        pb.LookAhead(
            chunk_frames=frames,
            latency_ms=info.geometry(frames).latency_ms,
            is_default=frames == info.default_chunk_frames,
        )
        for frames in info.look_aheads
    ]
    return pb.Model(
        id=info.id,
        family=info.family,
        language_codes=info.language_codes,
        sample_rate_hertz=info.features.sample_rate_hertz,
        look_aheads=look_aheads,
        decoders=[_PB_DECODERS[kind] for kind in info.decoders],
        is_default=is_default,
        aliases=aliases,
        has_end_token=bool(info.end_tokens),
        has_vad=info.hears_voice,
        biasing_decoders=[_PB_DECODERS[kind] for kind in info.biasing_decoders],
    )
