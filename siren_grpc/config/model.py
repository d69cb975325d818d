"""What is recognised with."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from siren_grpc.config.values import CommaSeparated, CommaSeparatedPairs


class ModelSettings(BaseModel):
    """Which models are served, and how they hear."""

    model: str = Field(
        "siren-mini-en",
        description="Model to serve: a hub name such as nvidia/nemotron-speech-streaming-en-0.6b, "
        "a path to a .nemo file, or siren-mini-en, which ships with the package.",
    )
    models: CommaSeparated = Field(
        (),
        description="Further models to serve beside it, named likewise; streams choose by "
        "config.model. Separated by commas, or a list in the file. Read again on SIGHUP.",
    )
    aliases: CommaSeparatedPairs = Field(
        {},
        description="Other names for models, such as fast=siren-mini-en. Separated by commas, or a "
        "table in the file. Read again on SIGHUP.",
    )
    device: str = Field(
        "auto", description="Where to run it: auto (a GPU if there is one), cpu, cuda, cuda:1, ..."
    )
    chunk_frames: int | None = Field(
        None,
        ge=1,
        description="Look-ahead of streams that name none, in encoder frames of 80 ms. "
        "A model that does not have it keeps its own, with a warning in the log, as long as "
        "another has it at start. Default: 7 if the model has it, else the model's own.",
    )
    decoder: Literal["rnnt", "tdt", "ctc"] | None = Field(
        None,
        description="Decoder of streams that name none; for the models that have it, as with "
        "chunk_frames. Default: the model's own.",
    )
    buffered_left_s: float = Field(
        10.0,
        ge=0,
        le=60,
        description="Audio an offline model hears before each chunk, in seconds. No effect on "
        "cache-aware models, nor have the next two.",
    )
    buffered_chunk_s: float = Field(
        2.0,
        ge=0.05,
        le=60,
        description="Audio a step of an offline model advances by, unless the stream or "
        "chunk_frames chooses another window.",
    )
    buffered_right_s: float = Field(
        2.0,
        ge=0,
        le=60,
        description="Audio an offline model hears behind each chunk; adds to the latency.",
    )
