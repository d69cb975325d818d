"""Every metric of the server, declared once: what is exported, documented and asked for.

Names follow Prometheus's conventions: `siren_`, what it is, its base unit, `_total` for counters.
No label grows with the number of sessions.
"""

from __future__ import annotations

from siren_grpc.observe.instruments import Metric, MetricKind

_COUNTER, _GAUGE, _HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM
_LANE = ("model", "chunk_frames", "decoder")
KINDS = ("live", "recording")
"""Of streams. Recordings give way to everybody who speaks: how long they take is no lateness."""
_STEP_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56)
_DELAY_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LATENCY_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)

# Sessions and calls
SESSIONS_ACTIVE = Metric(
    "siren_sessions_active",
    _GAUGE,
    "Sessions that hold a slot of the model, those of broken calls that are kept included.",
    ("model",),
)
SESSIONS_CAPACITY = Metric(
    "siren_sessions_capacity", _GAUGE, "Slots of the model: sessions it holds at most.", ("model",)
)
STREAMS_PARKED = Metric(
    "siren_streams_parked", _GAUGE, "Streams of broken calls kept for their client to come back."
)
SESSIONS_OPENED = Metric(
    "siren_sessions_opened_total",
    _COUNTER,
    "Streams and recordings begun, by kind: live (StreamingRecognize) or recording (Recognize).",
    ("model", "kind"),
)
SESSIONS_ENDED = Metric(
    "siren_sessions_ended_total",
    _COUNTER,
    "Streams and recordings ended, by outcome: OK, an error's reason, or CANCELLED when the client "
    "left.",
    ("model", "outcome"),
)
SESSION_AUDIO = Metric(
    "siren_session_audio_seconds",
    _HISTOGRAM,
    "Audio of a stream or recording that ended, in seconds.",
    ("model",),
    (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0),
)
CALLS = Metric(
    "siren_calls_total",
    _COUNTER,
    "Calls of SpeechService ended, by method and outcome: OK, an error's reason, or CANCELLED.",
    ("method", "outcome"),
)
ADMISSIONS_REFUSED = Metric(
    "siren_admissions_refused_total",
    _COUNTER,
    "Calls that were given no session, by cause: sessions (all taken), live_only (the rest is kept "
    "for live streams), behind (steps have fallen behind real time), too_much (one more would "
    "make the others late), memory, loading, draining, quota (the caller's own), other.",
    ("cause",),
)

# What was heard and told
AUDIO_RECEIVED = Metric(
    "siren_audio_received_seconds_total", _COUNTER, "Audio taken in, in seconds.", ("model",)
)
AUDIO_RECOGNISED = Metric(
    "siren_audio_recognised_seconds_total",
    _COUNTER,
    "Audio whose step has succeeded, in seconds; the silence added behind utterances counts.",
    ("model",),
)
PARTIALS = Metric("siren_partials_total", _COUNTER, "Partial results handed to gRPC.", ("model",))
FINALS = Metric(
    "siren_finals_total", _COUNTER, "Finals handed to gRPC, by cause.", ("model", "cause")
)
WORDS = Metric(
    "siren_words_total",
    _COUNTER,
    "Words of finals handed to gRPC; a word ends at white space.",
    ("model",),
)
PARTIAL_LATENCY = Metric(
    "siren_partial_latency_seconds",
    _HISTOGRAM,
    "From the arrival of the newest audio a partial heard until it was handed to gRPC.",
    ("model",),
    _LATENCY_S,
)
FINAL_LATENCY = Metric(
    "siren_final_latency_seconds",
    _HISTOGRAM,
    "From the arrival of what ended the utterance (a control, the half-close, or the audio an "
    "endpoint was found in) until its final was handed to gRPC, by kind: live or recording, which "
    "gives way to live streams and ends when all of it is recognised.",
    ("model", "kind"),
    _LATENCY_S,
)
BACKLOG = Metric(
    "siren_backlog_seconds",
    _GAUGE,
    "Audio cut into chunks and not recognised yet, in seconds, by kind: live or recording.",
    ("kind",),
)
OLDEST_CHUNK = Metric(
    "siren_oldest_chunk_age_seconds",
    _GAUGE,
    "For how long the oldest chunk of a front end's live streams has waited, in seconds; those of "
    "recordings, which give way, do not count.",
    ("process",),
)

# Steps
STEP_DURATION = Metric(
    "siren_step_duration_seconds",
    _HISTOGRAM,
    "Duration of a step, by lane and kind: live, previews or recordings.",
    (*_LANE, "kind"),
    _STEP_S,
)
BATCH_ROWS = Metric(
    "siren_step_batch_rows",
    _HISTOGRAM,
    "Sessions advanced by a step, padding not counted.",
    (*_LANE, "kind"),
    (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
)
QUEUE_DELAY = Metric(
    "siren_queue_delay_seconds",
    _HISTOGRAM,
    "From when a chunk came until its outcome was back in the front end, without its step: waiting "
    "for a batch, and the way there and back. Recordings give way: they have a kind of their own.",
    ("model", "kind"),
    _DELAY_S,
)
STEPS_LATE = Metric(
    "siren_steps_late_total",
    _COUNTER,
    "Steps that ended more than 0.1 seconds behind the deadline of their first chunk: when the one "
    "after it was due, or the end of its utterance came.",
    ("model",),
)
ROWS_FAILED = Metric(
    "siren_step_rows_failed_total",
    _COUNTER,
    "Sessions whose step failed even alone, by cause: memory or model.",
    ("model", "cause"),
)
STEP_WORKERS = Metric("siren_step_workers", _GAUGE, "Steps there may be at once.")
UTILIZATION = Metric(
    "siren_step_utilization_ratio",
    _GAUGE,
    "Share of the last seconds that the steppers spent in steps, 0 to 1.",
)

# Processes and device
LOOP_LAG = Metric(
    "siren_event_loop_lag_seconds",
    _HISTOGRAM,
    "How late a process's event loop ran a timer that was due, by process: engine, front_end_1 "
    "and so on.",
    ("process",),
    _DELAY_S,
)
RESIDENT_MEMORY = Metric(
    "siren_process_resident_memory_bytes", _GAUGE, "Memory of a process in RAM.", ("process",)
)
OPEN_FDS = Metric("siren_process_open_fds", _GAUGE, "File descriptors of a process.", ("process",))
CPU_TIME = Metric(
    "siren_process_cpu_seconds_total", _COUNTER, "Processor time of a process.", ("process",)
)
DEVICE_MEMORY_USED = Metric(
    "siren_device_memory_used_bytes",
    _GAUGE,
    "Memory of a GPU in use, by whatever process.",
    ("device",),
    is_everywhere=False,
)
DEVICE_MEMORY_TOTAL = Metric(
    "siren_device_memory_total_bytes", _GAUGE, "Memory of a GPU.", ("device",), is_everywhere=False
)
DEVICE_MEMORY_RESERVED = Metric(
    "siren_device_memory_reserved_bytes",
    _GAUGE,
    "Memory of a GPU that this server's torch holds.",
    ("device",),
    is_everywhere=False,
)
DEVICE_UTILIZATION = Metric(
    "siren_device_utilization_ratio",
    _GAUGE,
    "Share of the time in which a GPU ran anything, 0 to 1, as NVML tells; absent where it does "
    "not, as on a part of a GPU (MIG).",
    ("device",),
    is_everywhere=False,
)

# The server itself
SERVING = Metric(
    "siren_serving", _GAUGE, "1 while the server is SERVING; 0 while it loads or drains."
)
START_TIME = Metric("siren_start_time_seconds", _GAUGE, "When the server started, in Unix time.")
FRONT_ENDS = Metric(
    "siren_front_ends",
    _GAUGE,
    "Front ends whose numbers are in this answer; they come each second.",
)
FRONT_END_DEATHS = Metric(
    "siren_front_end_deaths_total",
    _COUNTER,
    "Front ends that died by themselves; each is replaced, and its streams are lost.",
)
BUILD_INFO = Metric(
    "siren_build_info",
    _GAUGE,
    "1, with the versions of the server, Python, torch and grpcio.",
    ("version", "python", "torch", "grpcio"),
)
MODEL_INFO = Metric(
    "siren_model_info",
    _GAUGE,
    "1 for each model in service.",
    ("model", "family", "languages", "sample_rate_hertz"),
)
COLLECT_FAILURES = Metric(
    "siren_collect_failures_total",
    _COUNTER,
    "Times a source of metrics failed and was left out: processes, device.",
    ("source",),
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""In the order of this file."""


def kind_of(*, is_live: bool) -> str:
    """Return what labels call a stream, or a recording: one of `KINDS`."""
    return KINDS[0] if is_live else KINDS[1]
