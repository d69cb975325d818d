"""Client of Siren gRPC, a streaming speech-to-text server.

`SirenClient` blocks, `AsyncSirenClient` is for asyncio; both take the same
options and give the same results. Every failed call raises `SirenError`.
"""

from siren_client.aio import AsyncSirenClient
from siren_client.blocking import RecognitionStream, SirenClient
from siren_client.endpointing import EndpointDetector, Endpointing, FinalCause
from siren_client.errors import FieldViolation, Reason, SirenError
from siren_client.reconnect import Reconnect
from siren_client.tls import Tls
from siren_client.token import FileToken, Token
from siren_client.types import (
    Alternative,
    AudioEncoding,
    AudioItem,
    ChannelMode,
    Control,
    Decoder,
    Final,
    LookAhead,
    Model,
    Partial,
    PhraseOption,
    Recognition,
    RecognitionOptions,
    Result,
    Resumed,
    ServingStatus,
    SpeechEvent,
    SpeechEventType,
    Started,
    Update,
    Updated,
    Word,
)

__all__ = [
    "Alternative",
    "AsyncSirenClient",
    "AudioEncoding",
    "AudioItem",
    "ChannelMode",
    "Control",
    "Decoder",
    "EndpointDetector",
    "Endpointing",
    "FieldViolation",
    "FileToken",
    "Final",
    "FinalCause",
    "LookAhead",
    "Model",
    "Partial",
    "PhraseOption",
    "Reason",
    "Recognition",
    "RecognitionOptions",
    "RecognitionStream",
    "Reconnect",
    "Result",
    "Resumed",
    "ServingStatus",
    "SirenClient",
    "SirenError",
    "SpeechEvent",
    "SpeechEventType",
    "Started",
    "Tls",
    "Token",
    "Update",
    "Updated",
    "Word",
]
