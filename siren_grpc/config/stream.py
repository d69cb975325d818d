"""What one stream may do, and what is done with its audio and text."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from siren_grpc.config.values import CommaSeparated


class StreamSettings(BaseModel):
    """Bounds and defaults of each stream."""

    preview_ms: int = Field(
        160,
        ge=0,
        description="How often a chunk that is not complete yet is looked at, for partials quicker "
        "than the look-ahead; 0 for never. Costs a step each, run only when no chunk waits; "
        "finals are the same.",
    )
    tail_padding_ms: int = Field(
        480,
        ge=0,
        description="Silence a model hears behind the end of an utterance, so that a word which "
        "ends with the audio is not lost. No waiting: it costs compute only.",
    )
    max_backlog_s: float = Field(
        4.0,
        gt=0,
        description="Audio of a stream waiting to be recognised, from which on the server reads no "
        "more of it (HTTP/2 flow control slows the client down).",
    )
    max_unsent_results: int = Field(
        256,
        ge=1,
        description="Finals and events a client has not read, from which on the server takes no "
        "more audio from it.",
    )
    idle_timeout_s: float = Field(
        60.0,
        gt=0,
        description="A stream that sends nothing for so long ends with IDLE_TIMEOUT, and so does a "
        "call of any other method whose request is not there by then, whole.",
    )
    resume_grace_s: float = Field(
        10.0,
        ge=0,
        le=600,
        description="How long a resumable stream whose call broke is kept, session and all, for "
        "its client to come back; 0 keeps none.",
    )
    max_parked: int = Field(
        64,
        ge=1,
        description="Streams of broken calls a front end keeps at most; one more ends the oldest.",
    )
    max_session_s: float | None = Field(
        None, gt=0, description="Audio one stream may hold, in seconds. Default: no limit."
    )
    max_message_mb: int = Field(
        32, ge=1, le=1024, description="Largest message taken, in MiB; bounds Recognize."
    )
    itn_languages: CommaSeparated = Field(
        (),
        description="Languages whose inverse text normalisation is loaded at start, such as en; "
        "the first stream of any other waits some seconds for it. Takes memory in each front end.",
    )
    masked_words_file: Path | None = Field(
        None,
        description="Words masked for streams that ask for text.mask_profanity: a text file in "
        "UTF-8, a word a line, # before a comment. Default: such streams are refused.",
    )
