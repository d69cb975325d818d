"""How many streams there may be, and how they share the device."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ComputeSettings(BaseModel):
    """Bounds of sessions, and of the steps that serve them."""

    max_sessions: int = Field(
        256,
        ge=1,
        description="Streams of each model served at once; one more is refused with OVERLOADED, "
        "and one in eight is kept from recordings. Each holds a slot of its model's caches, "
        "allocated at start.",
    )
    max_batch: int | None = Field(
        None,
        ge=1,
        description="Most streams advanced in one step. More is more throughput, and longer steps. "
        "Default: on a CPU what is measured to be worth it at start, on a GPU 256.",
    )
    max_batch_delay_ms: float = Field(
        20.0,
        ge=0,
        le=1000,
        description="How long a chunk may wait, while another step runs, for others to share its "
        "own; on an idle device it never waits. More is more throughput under load, and later "
        "results.",
    )
    front_ends: int = Field(
        0,
        ge=0,
        description="Processes that speak gRPC and share the port; 0 for one per four cores, at "
        "most 8. The system deals connections out to them, and all streams of a connection stay "
        "where it went.",
    )
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of a step; 0 measures at start how few keep a step short. No "
        "effect on a GPU.",
    )
    parallel_steps: int = Field(
        0,
        ge=0,
        description="Steps at once; 0 for (cores - front_ends) / threads on a CPU, and 1 on a "
        "GPU. Fewer are larger ones, and leave cores to whatever else runs there.",
    )
    encoder_cache: Literal["keys_values", "inputs"] = Field(
        "keys_values",
        description="What is kept of the left context: keys_values computes nothing twice; inputs, "
        "as NeMo does it, takes about half the memory of a session (the log tells it) and longer "
        "steps.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        "auto",
        description="How the encoder's linear layers multiply. bf16, fp16 and int8 (CPU only) are "
        "quicker where the device has instructions for them, and may cost some accuracy: see "
        "docs/benchmarks.md. auto: bf16 on a GPU that has it, else fp32.",
    )
    cuda_graphs: bool = Field(
        False,
        description="Whether the layers of cache-aware encoders run as CUDA graphs on a GPU: "
        "shorter steps of few streams, for a longer start and some memory. Needs encoder_cache "
        "keys_values. Each graph is tried at start; if one fails, none is used, and the log says "
        "so. Off until it has been measured: see docs/benchmarks.md.",
    )
    session_memory_mb: int | None = Field(
        None,
        ge=1,
        description="Memory for the sessions of each model, in MiB: fewer are served than "
        "max_sessions if no more fit. The log says at start what one takes. Default: no limit.",
    )
    max_load: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Part of a chunk's duration its recognition may take, waiting included, before "
        "new live streams are refused with OVERLOADED: less keeps latency lower, more serves more. "
        "0 turns it off.",
    )
