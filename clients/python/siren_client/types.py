"""What goes into a stream and what comes out of it.

Times are seconds from the first sample of the stream. Text positions count
Unicode code points, as the indices of a Python `str` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, TypedDict

from siren_client.endpointing import Endpointing, FinalCause


class AudioEncoding(str, Enum):
    """How the bytes of the audio are to be read.

    Of the first four `sample_rate_hertz` and `channel_count` say the rest; the others say it
    themselves.
    """

    LINEAR16 = "linear16"
    """Signed 16-bit little-endian PCM, 2 bytes a sample."""
    FLOAT32 = "float32"
    """IEEE 754 32-bit little-endian PCM in [-1, 1], 4 bytes a sample."""
    MULAW = "mulaw"
    """G.711 mu-law, 1 byte a sample."""
    ALAW = "alaw"
    """G.711 A-law, 1 byte a sample."""
    AUTO = "auto"
    """Whichever of the following the first bytes are; LINEAR16 if they are none of these."""
    WAV = "wav"
    """A WAV file: PCM, float, mu-law or A-law; also one without a length, as it is recorded."""
    FLAC = "flac"
    """FLAC, native or in Ogg."""
    OGG_OPUS = "ogg_opus"
    """Opus in Ogg."""
    WEBM_OPUS = "webm_opus"
    """Opus in WebM or Matroska, as browsers record it."""
    MP3 = "mp3"
    """MPEG layer III."""


class ChannelMode(str, Enum):
    """What is recognised of audio with several channels."""

    MIX = "mix"
    """Their mean."""
    SELECT = "select"
    """One of them: the option `channel`."""
    SEPARATE = "separate"
    """Each by itself, in one stream: results say which they are of. Takes `channel_count`."""


class Decoder(str, Enum):
    """The part of a model that turns encoder frames into tokens."""

    RNNT = "rnnt"
    """Recurrent neural network transducer."""
    CTC = "ctc"
    """Connectionist temporal classification."""
    TDT = "tdt"
    """Token-and-duration transducer."""


class Control(Enum):
    """An instruction at a point of the audio, given between its bytes."""

    FINALIZE = "finalize"
    """End the utterance here: its final comes now and the stream stays open."""
    RESET = "reset"
    """Throw the current utterance away; no final comes for it."""
    END = "end"
    """No more audio. The end of the audio iterable means the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Other options from this point of the audio on, given between its bytes.

    What is None stays as it is. `Updated` tells when it took effect.
    """

    endpointing: Endpointing | None = None
    """Replaces the endpointing as a whole; one with `EndpointDetector.OFF` removes it."""
    partial_interval_ms: int | None = None
    """Audio between two partials at least; 0 for a partial at each change."""
    phrases: Sequence[PhraseOption] | None = None
    """Replaces the phrases as a whole, as the option of the same name; none removes them."""
    phrase_boost: float | None = None
    """Boost of the phrases given here without their own; None: the server's default."""


AudioItem: TypeAlias = bytes | bytearray | memoryview | Control | Update
"""What an audio iterable yields: stretches of audio of any length, controls and updates."""


PhraseOption: TypeAlias = str | tuple[str, float]
"""A phrase to be preferred where it might have been said, alone or with its boost."""


class RecognitionOptions(TypedDict, total=False):
    """How audio is to be recognised. What is left out is for the server to choose."""

    model: str
    """Id of a model in `list_models()`. Left out: the server's default model."""
    language_code: str
    """BCP-47 code such as `en-US`, or `auto`, of `Model.language_codes`. Left out: the first."""
    encoding: AudioEncoding | str
    """How to read the audio: a member of `AudioEncoding` or its value. Left out: LINEAR16."""
    sample_rate_hertz: int
    """Samples per second of the audio, 8000 to 48000. Left out: 16000, or what the audio says."""
    channel_count: int
    """Channels of the audio, at most 8, interleaved. Left out: 1, or what the audio says."""
    channel_mode: ChannelMode | str
    """What is recognised of several channels. Left out: their mean."""
    channel: int
    """The channel to be recognised, from 0, with `ChannelMode.SELECT`."""
    chunk_frames: int
    """Encoder frames of 80 ms per step, one of the model's `look_aheads`: more is more
    accurate, less is quicker. Left out: the server's default."""
    decoder: Decoder | str
    """Which decoder of a hybrid model. Left out: the model's default."""
    words: bool
    """Whether finals list their words, with times and confidence. Left out: no."""
    partial_words: bool
    """Whether partials do, too; implies `words`. Left out: no."""
    max_alternatives: int
    """How many other readings of its utterance a final lists at most, up to 10; it waits for
    their search. Left out: none."""
    endpointing: Endpointing
    """When utterances end by themselves. Left out: they do not."""
    partial_interval_ms: int
    """Audio between two partials at least. Left out: a partial at each change."""
    lower_case: bool
    """Verbatim: small letters, and no punctuation at the edges of words. Left out: as the
    model gives it."""
    inverse_text_normalization: bool
    """Write numbers, amounts, dates and the like as people do: "twenty five dollars" becomes
    "$25". The server refuses languages it cannot write. Left out: as spoken."""
    mask: Sequence[str]
    """Words to be made unreadable: "damn" becomes "d***". Left out: none."""
    mask_profanity: bool
    """Mask the words of the server's own list, too; refused where it has none."""
    request_id: str
    """Your own name for the call, at most 128 printable ASCII characters: it is in the server's
    log, in `Started` and in the trailing metadata. Left out: none."""
    phrases: Sequence[PhraseOption]
    """Names and terms to be preferred where they might have been said, at most 1000, each
    spelled as the model would write it: `"siren"`, or `("siren", 4.0)` with a boost of its
    own, greater than 0 and at most 10. Left out: none."""
    phrase_boost: float
    """Boost of the phrases without their own. Left out: the server's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What the server chose for a stream; the first result of each."""

    session_id: str
    """Identifies the stream in the server's log."""
    model: str
    """Id of the model that recognises it."""
    language_code: str
    """BCP-47 code of the language it recognises, or `auto`."""
    encoding: AudioEncoding | None
    """How the audio is read; None for one this client does not know."""
    sample_rate_hertz: int
    """Samples per second it is read at; 0 when the audio is to say it."""
    chunk_frames: int
    """Encoder frames of 80 ms per step."""
    latency_ms: int
    """`chunk_frames` in milliseconds: the longest a sound waits for its step."""
    decoder: Decoder | None
    """The decoder in use; None for one this client does not know."""
    request_id: str = ""
    """The option `request_id`, as given."""
    channel_count: int = 0
    """Channels of the audio; 0 when the audio is to say it."""
    channel_mode: ChannelMode | None = None
    """What is recognised of them; None for a mode this client does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a result, with the punctuation behind it.

    Its times are those of the decoder's alignment, in steps of 80 ms, a little after the sound.
    """

    text: str
    """The word as it is in the result's text."""
    start_s: float
    """Where in the stream it begins, in seconds."""
    end_s: float
    """Where in the stream it ends, in seconds."""
    confidence: float | None = None
    """How certain the model is, 0 to 1; no probability. None when the server does not say."""
    is_stable: bool = True
    """Whether all of it is stable; in partials the last one may still grow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The current best hypothesis of the current utterance; newer replaces older."""

    text: str
    """The whole utterance so far: `stable` and then `tail`."""
    stable_len: int
    """How many leading code points of `text` will never change in this utterance."""
    seq: int
    """The last item of audio this accounts for, counted from 1; 0 while there is none."""
    audio_processed_s: float
    """How much of the stream's audio this accounts for, in seconds."""
    audio_received_s: float = 0.0
    """How much of it the server had received; the difference is how far it lags behind."""
    words: tuple[Word, ...] = ()
    """With the option `partial_words`: the words of `text`, of a long one the last 256."""
    channel: int = 0
    """The channel it is of, with `ChannelMode.SEPARATE`."""

    @property
    def stable(self) -> str:
        """The part that begins every later partial of this utterance, and its final."""
        return self.text[: self.stable_len]

    @property
    def tail(self) -> str:
        """The part that may still change."""
        return self.text[self.stable_len :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another reading of an utterance."""

    text: str
    """What may have been said instead."""
    probability: float
    """How likely the model finds it among all readings it looked at, 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The result of a whole utterance; it does not change any more."""

    text: str
    """What was said; empty when nothing was."""
    seq: int
    """The last item of audio this accounts for, counted from 1; 0 while there is none."""
    start_s: float
    """Where in the stream the utterance's audio begins, in seconds."""
    end_s: float
    """Where in the stream the utterance's audio ends, in seconds."""
    cause: FinalCause | None = None
    """Why the utterance ended; None for a reason this client does not know."""
    audio_received_s: float = 0.0
    """How much of the stream's audio the server had received, in seconds."""
    delay_s: float = 0.0
    """From the arrival of the last audio or control this needed to its sending, in seconds."""
    spoken_text: str = ""
    """The text as it was spoken, where inverse text normalisation wrote it otherwise; else
    empty."""
    words: tuple[Word, ...] = ()
    """With the option `words`: the words of `text`, or of `spoken_text` where there is one."""
    confidence: float | None = None
    """With the option `words`: the mean of its words' confidence; None without words."""
    language_code: str = ""
    """BCP-47 code of the language it was spoken in: what the model found under `auto`, empty
    where it has not said it."""
    alternatives: tuple[Alternative, ...] = ()
    """With the option `max_alternatives`: what else may have been said, the likeliest first."""
    channel: int = 0
    """The channel it is of, with `ChannelMode.SEPARATE`."""


class SpeechEventType(str, Enum):
    """What happened in the audio."""

    SPEECH_STARTED = "speech_started"
    """The first token of an utterance was recognised."""
    SPEECH_ENDED = "speech_ended"
    """The utterance ended, and this is where its last token was; the final follows."""
    SERVER_DRAINING = "server_draining"
    """The server is going to stop. Streams that reconnect move to another by themselves, between
    two utterances, and do not show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEvent:
    """Something that happened at a time in the stream."""

    type: SpeechEventType
    """What happened."""
    time_s: float
    """When, in seconds, to the 80 ms encoder frame."""
    channel: int = 0
    """The channel it is of, with `ChannelMode.SEPARATE`."""
    grace_left_s: float | None = None
    """Of `SERVER_DRAINING`: how much longer the stream may go on, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated:
    """An `Update` took effect."""

    time_s: float
    """The position in the stream from which it holds, in seconds."""
    endpointing: Endpointing | None
    """The endpointing that holds now, the server's defaults filled in."""
    partial_interval_ms: int
    """Audio between two partials at least."""
    phrases: int
    """How many phrases are preferred now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The connection broke, and the stream goes on as if it had not."""

    outage_s: float
    """From when the break was noticed until a server answered, in seconds."""
    is_replay: bool
    """Whether audio was sent again: the server did not keep the stream, or is another."""


Result: TypeAlias = Started | Partial | Final | SpeechEvent | Updated | Resumed
"""What a stream yields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What was said in one complete recording."""

    started: Started
    """What the server chose."""
    finals: tuple[Final, ...]
    """One for each utterance, in order; at least one."""

    @property
    def text(self) -> str:
        """The whole text: that of the utterances with speech, one space between two."""
        return " ".join(final.text for final in self.finals if final.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAhead:
    """A look-ahead a model was trained for."""

    chunk_frames: int
    """Encoder frames of 80 ms per step."""
    latency_ms: int
    """The same in milliseconds: the longest a sound waits for its step."""
    is_default: bool
    """Whether streams that name no `chunk_frames` get this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the server and what it can do."""

    id: str
    """What the option `model` takes."""
    family: str
    """Kind of network, such as `cache-aware-fastconformer`."""
    language_codes: tuple[str, ...]
    """What the option `language_code` takes, the default first: BCP-47 codes, perhaps `auto`."""
    sample_rate_hertz: int
    """Samples per second it works at; the server resamples other rates to it."""
    look_aheads: tuple[LookAhead, ...]
    """What the option `chunk_frames` takes, the quickest first."""
    decoders: tuple[Decoder, ...]
    """What the option `decoder` takes, the default first; without those this client
    does not know."""
    is_default: bool
    """Whether streams that name no model get this one."""
    has_end_token: bool = False
    """Whether `EndpointDetector.END_TOKEN` is for it."""
    has_vad: bool = False
    """Whether `EndpointDetector.VAD` is for it."""
    biasing_decoders: tuple[Decoder, ...] = ()
    """Those of `decoders` with which the option `phrases` may be given."""


class ServingStatus(str, Enum):
    """What a server says of its own health (`grpc.health.v1`)."""

    UNKNOWN = "unknown"
    """The server has not decided yet."""
    SERVING = "serving"
    """Ready for requests."""
    NOT_SERVING = "not_serving"
    """Up, and takes no requests: it starts, stops, or is broken."""
    SERVICE_UNKNOWN = "service_unknown"
    """The server does not have the service that was asked for."""
