"""Every setting of the server, in one typed object.

A value comes from the command line, else from the environment (`SIREN_` and the name in capitals),
else from a TOML file, else from the default here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)


def _split(value: Any) -> Any:
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


def _split_pairs(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split(value)]
    if any(not name or not target for name, _, target in pairs):
        raise ValueError("give pairs such as fast=siren-mini-en, separated by commas")
    return {name.strip(): target.strip() for name, _, target in pairs}


CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
CommaSeparatedPairs = Annotated[dict[str, str], NoDecode, BeforeValidator(_split_pairs)]
SecretPairs = Annotated[dict[str, SecretStr], NoDecode, BeforeValidator(_split_pairs)]

ENVIRONMENT_ONLY = frozenset({"tokens"})
"""Secrets: no flag, which others could see in the list of processes, and no line of a file."""


class Settings(BaseSettings):
    """Settings of `siren serve`."""

    model_config = SettingsConfigDict(
        env_prefix="SIREN_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(
        50051, ge=0, le=65535, description="Port to listen on; 0 lets the system choose one."
    )
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
        "Default: 7 if the model has it, else the model's own.",
    )
    decoder: Literal["rnnt", "tdt", "ctc"] | None = Field(
        None, description="Decoder of streams that name none. Default: the model's own."
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
    max_sessions: int = Field(
        256,
        ge=1,
        description="Streams served at once; one more is refused with OVERLOADED, and one in "
        "eight is kept from recordings. Each holds a slot of the model's caches, allocated at "
        "start.",
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
        description="Processes that speak gRPC and share the port; 0 for one per four cores. The "
        "system deals connections out to them, and all streams of a connection stay where it "
        "went.",
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
    precision: Literal["fp32", "bf16", "int8"] = Field(
        "fp32",
        description="How the encoder's linear layers multiply. bf16 and int8 (CPU only) are "
        "quicker where the processor has instructions for them, and may cost some accuracy: see "
        "docs/benchmarks.md.",
    )
    session_memory_mb: int | None = Field(
        None,
        ge=1,
        description="Memory for the sessions of each model, in MiB: fewer are served than "
        "max_sessions if no more fit. The log says at start what one takes. Default: no limit.",
    )
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
        60.0, gt=0, description="A stream that sends nothing for so long ends with IDLE_TIMEOUT."
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
    shutdown_grace_s: float = Field(
        20.0,
        ge=0,
        description="After SIGTERM or Ctrl-C, how long running streams may go on before they get "
        "their final and SHUTTING_DOWN.",
    )
    tokens_file: Path | None = Field(
        None,
        description="File of tokens, hashed, as `siren token new` writes it: calls need one of "
        "them. Read again when it changes. See docs/security.md, as for all settings up to "
        "quota_audio_s_per_day.",
    )
    tokens: SecretPairs = Field(
        {},
        description="Further tokens, in plain, by name, such as phone=TOKEN, separated by commas; "
        "16 characters each at least. Only from the environment.",
    )
    jwt_jwks_file: Path | None = Field(
        None,
        description="Public keys of an issuer of JWTs (JWKS): calls may show one of those instead "
        "of a token. Read again when it changes. Needs the next two.",
    )
    jwt_issuer: str = Field("", description="What the claim `iss` of a JWT must be.")
    jwt_audience: str = Field("", description="What the claim `aud` of a JWT must be or contain.")
    jwt_algorithms: CommaSeparated = Field(
        ("RS256", "PS256", "ES256", "EdDSA"),
        description="Algorithms a JWT may be signed with. Those with a shared secret (HS256) let "
        "whoever can check a JWT make one, too.",
    )
    jwt_leeway_s: float = Field(
        30.0, ge=0, le=600, description="How far the clocks of the issuer and here may differ."
    )
    jwt_quota_claim: str = Field(
        "",
        description="Claim of a JWT with its quota: an object with sessions, "
        "audio_seconds_per_hour, audio_seconds_per_day. Default: none is read.",
    )
    tls_cert_file: Path | None = Field(
        None,
        description="Certificate, its chain behind it, in PEM: the port speaks TLS. This and the "
        "next two are read again when they change; running streams go on.",
    )
    tls_key_file: Path | None = Field(None, description="Its key, in PEM, without a passphrase.")
    tls_client_ca_file: Path | None = Field(
        None,
        description="Authorities, in PEM, one of which must have signed the certificate that every "
        "client shows then (mutual TLS).",
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port that answers health checks alone, in plain text, for probes that speak "
        "no TLS, such as Kubernetes'. Default: only `port` answers them.",
    )
    allow_anonymous: bool = Field(
        False,
        description="Listen on an address that other machines reach although neither tokens, JWTs "
        "nor client certificates are asked for: whoever reaches the port may use it.",
    )
    open_health: bool = Field(
        True, description="Answer health checks, and load reports, on `port` without a token."
    )
    open_reflection: bool = Field(True, description="Answer server reflection without a token.")
    quota_sessions: int | None = Field(
        None,
        ge=0,
        description="Sessions at once of each token, JWT subject or certificate that has no quota "
        "of its own; of all anonymous callers together. Default: no limit.",
    )
    quota_audio_s_per_hour: float | None = Field(
        None, ge=0, description="Seconds of audio in any hour, likewise."
    )
    quota_audio_s_per_day: float | None = Field(
        None, ge=0, description="Seconds of audio in any day, likewise."
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=600,
        description="After SIGTERM or Ctrl-C, how long new streams are still taken while health "
        "says NOT_SERVING already: as long as balancers need to notice. Behind a balancer 5; it "
        "comes before shutdown_grace_s.",
    )
    stuck_step_s: float = Field(
        30.0,
        ge=1,
        description="A step that takes longer is stuck: streams end with SHUTTING_DOWN, the health "
        "named liveness turns NOT_SERVING, and the log shows what every thread does. Many times "
        "the longest step there is.",
    )
    stuck_exit_s: float = Field(
        30.0,
        ge=0,
        description="How much longer a process with a stuck step goes on, before it ends itself "
        "with status 70.",
    )
    max_connection_age_s: float | None = Field(
        None,
        ge=1,
        description="Age at which a connection is told to take its new streams elsewhere, give or "
        "take 10 %: so that clients find replicas that came later. Behind a balancer 1800. "
        "Running streams go on. Default: no limit.",
    )
    max_connection_age_grace_s: float | None = Field(
        None,
        ge=0,
        description="How long running streams may keep such a connection; then it is cut. Default: "
        "as long as they run.",
    )
    max_load: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Part of a chunk's duration its recognition may take, waiting included, before "
        "new live streams are refused with OVERLOADED: less keeps latency lower, more serves more. "
        "0 turns it off.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="What the server's log shows."
    )
    log_format: Literal["text", "json"] = Field(
        "text",
        description="Form of the log's lines: text for people, json for collectors, an object a "
        "line with the session's ids. Neither has text or audio of streams.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the Prometheus metrics (http://HOST:PORT/metrics); 0 lets the system "
        "choose one. Default: none.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address of the metrics. They name models and counts, nobody and no text; "
        "anybody who reaches the address can read them.",
    )
    admin_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of siren.v1.AdminService, which lists and ends sessions; 0 lets the "
        "system choose one. Default: none.",
    )
    admin_host: str = Field(
        "127.0.0.1",
        description="Address of the admin service. It asks for no token: give it one that only "
        "operators reach.",
    )
    load_reports: bool = Field(
        True,
        description="Tell balancers the load (ORCA): in the trailers of each call, and by "
        "xds.service.orca.v3.OpenRcaService. Clients can read it: utilisation and the number of "
        "sessions.",
    )
    channelz: bool = Field(
        False,
        description="Answer grpc.channelz.v1.Channelz on the port: connections, their peers and "
        "calls, for debugging. Of the front end that took the asking connection.",
    )
    tracing: Literal["off", "calls", "steps"] = Field(
        "off",
        description="OpenTelemetry traces: a span a call, and with steps a span a step too. Needs "
        "the extra otel; OTEL_* variables say where they go and how many. Steps cost more the more "
        "calls are traced.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order the sources: what is given here, the environment, the file."""
        file = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, file


def load_settings(given: dict[str, Any], file: Path | None) -> Settings:
    """Read the settings.

    given: values of the command line, by setting. file: a TOML file with settings at its top
    level, or None. Raises pydantic.ValidationError naming each bad value, FileNotFoundError,
    ValueError for a secret in the file.
    """
    if file is None:
        return Settings(**given)
    if not file.is_file():
        raise FileNotFoundError(f"no settings file at {file}")

    class FileSettings(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    try:
        lines = TomlConfigSettingsSource(FileSettings)()
    except ValueError as error:  # no TOML, or no UTF-8
        raise ValueError(f"{file} is no TOML: {error}") from error
    if found := ENVIRONMENT_ONLY & lines.keys():
        raise ValueError(
            f"setting {', '.join(found)} in {file}: secrets come from the environment only; "
            "tokens_file holds tokens as hashes"
        )
    return FileSettings(**given)
