"""The server's commands of `siren`: `serve`, `pull`, `bench` and `abuse`.

Added to the client's command line by the entry point `siren.commands`. Torch and NeMo are
imported by the commands that need them, so that `siren --help` stays quick.
"""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_core import PydanticUndefined
from rich.console import Console

from siren_grpc.abuse.commands import app as abuse_app
from siren_grpc.bench import size_command
from siren_grpc.bench.commands import app as bench_app
from siren_grpc.config import ENVIRONMENT_ONLY, Settings, load_settings
from siren_grpc.domain.geometry import BufferedSeconds
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.domain.types import DecoderKind, EncoderCache, Precision
from siren_grpc.observe.device import DeviceUsage
from siren_grpc.observe.logging import configure_logging
from siren_grpc.observe.tracing import TracingMissing, check_tracing
from siren_grpc.runtime import cores, front_ends_for, share_the_cores
from siren_grpc.server.security.token_command import app as token_app
from siren_grpc.soak.commands import app as soak_app
from siren_grpc.text.masking import read_masked_words

if TYPE_CHECKING:
    from siren_grpc.server.app import App

_log = logging.getLogger(__name__)
_console = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Add the server's commands to the `siren` command line."""
    app.command("serve", help=_SERVE_HELP)(_with_setting_flags(_serve))
    app.command("pull", help=_PULL_HELP)(_pull)
    app.add_typer(bench_app, name="bench")
    app.add_typer(token_app, name="token")
    app.add_typer(abuse_app, name="abuse")
    app.add_typer(soak_app, name="soak")
    app.command("size", help=size_command.HELP)(size_command.size_deployment)


_SERVE_HELP = """Serve speech recognition over gRPC.

Every setting is a flag here, an environment variable (SIREN_PORT=50052) or a line of a TOML file
(port = 50052), in this order.

Examples:

  siren serve

  siren serve --model nvidia/nemotron-speech-streaming-en-0.6b

  siren token new --name phone --file tokens.txt

  siren serve --host 0.0.0.0 --tokens-file tokens.txt

  SIREN_MAX_SESSIONS=200 siren serve --config siren.toml
"""

_PULL_HELP = """Fetch a model's checkpoint ahead of time, for images and quick cold starts.

A hub name is downloaded into the hub's cache (HF_HOME says where); a .nemo path is only checked.

Example: siren pull nvidia/nemotron-speech-streaming-en-0.6b
"""


def _fail(message: str) -> None:
    _console.print(message, style="red", markup=False, soft_wrap=True)


def _with_setting_flags(
    command: Callable[[dict[str, Any], Path | None], None],
) -> Callable[..., None]:
    """Give a command one flag for each setting, so that they are declared once: in `Settings`."""

    def run(**flags: Any) -> None:
        file = flags.pop("config")
        command({name: value for name, value in flags.items() if value is not None}, file)

    parameters = [
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(help="TOML file with settings.", envvar="SIREN_CONFIG"),
            ],
        )
    ]
    for name, field in Settings.model_fields.items():
        if name in ENVIRONMENT_ONLY:
            continue
        plain = ", ".join(field.default) if isinstance(field.default, tuple) else field.default
        default = "" if plain in (None, PydanticUndefined, "", {}) else f" [{plain}]"
        kind = next(
            t
            for t in (bool, int, float, str)
            if t in (field.annotation, *getattr(field.annotation, "__args__", ())) or t is str
        )
        flag = f"--{name.replace('_', '-')}"
        option = typer.Option(
            f"{flag}/--no-{flag[2:]}" if kind is bool else flag,
            help=f"{field.description}{default}",
            show_default=False,
        )
        parameters.append(
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind | None, option],
            )
        )
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _serve(given: dict[str, Any], file: Path | None) -> None:
    try:
        settings = load_settings(given, file)
    except ValidationError as error:
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"])
            is_secret = fault["loc"][:1] and fault["loc"][0] in ENVIRONMENT_ONLY
            got = "" if is_secret else f" (got {fault['input']!r})"
            _fail(f"setting {name}: {fault['msg']}{got}")
        raise typer.Exit(2) from None
    except (FileNotFoundError, ValueError) as error:
        _fail(str(error))
        raise typer.Exit(2) from None
    configure_logging(settings.log_level, settings.log_format)
    faulthandler.enable(
        sys.__stderr__ or sys.stderr
    )  # a crash in native code, or SIGABRT, leaves the stacks of all threads
    for name, value in settings.model_dump().items():
        _log.info("setting %s = %r", name, value)
    share_the_cores()
    # Imported late: grpc is quick, but `siren --help` needs none of it.
    from siren_grpc.server.app import StepperDied
    from siren_grpc.server.front_end_process import FrontEndDied

    try:
        app = asyncio.run(_run(settings, lambda: _reload(given, file)))
    except (
        OSError,
        StepperDied,
        FrontEndDied,
        ModelLoadFailed,
        TracingMissing,
        ValueError,
    ) as error:
        _fail(str(error))
        raise typer.Exit(1) from None
    if app.is_loading:
        # Stopped early: the loading thread is inside torch, whose threads would abort the
        # interpreter's orderly exit. Nothing is left to save.
        logging.shutdown()
        os._exit(0)


def _reload(given: dict[str, Any], file: Path | None) -> Settings:
    """Read the settings again. Raises ValueError (pydantic's is one)."""
    try:
        return load_settings(given, file)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error


async def _run(settings: Settings, reload: Callable[[], Settings]) -> App:
    from siren_grpc.engine.session import EngineLimits
    from siren_grpc.server.app import App, AppConfig, Models
    from siren_grpc.server.connections import ConnectionLimits
    from siren_grpc.server.front_end import FrontEndConfig
    from siren_grpc.server.itn import check_languages
    from siren_grpc.server.observer import ObserveConfig
    from siren_grpc.server.opening import ServiceLimits
    from siren_grpc.server.security.setup import security_of

    check_languages(settings.itn_languages)
    if settings.tracing != "off":
        check_tracing()
    front_end = FrontEndConfig(
        host=settings.host,
        port=settings.port,
        shares_port=False,
        connections=ConnectionLimits(
            max_message_bytes=settings.max_message_mb << 20,
            max_sessions=settings.max_sessions,
            max_connection_age_s=settings.max_connection_age_s,
            max_connection_age_grace_s=settings.max_connection_age_grace_s,
        ),
        drain_delay_s=settings.drain_delay_s,
        shutdown_grace_s=settings.shutdown_grace_s,
        stuck_step_s=settings.stuck_step_s,
        stuck_exit_s=settings.stuck_exit_s,
        itn_languages=settings.itn_languages,
        service=ServiceLimits(
            preview_ms=settings.preview_ms,
            tail_padding_ms=settings.tail_padding_ms,
            idle_timeout_s=settings.idle_timeout_s,
            max_session_s=settings.max_session_s,
            masked_words=_masked_words(settings.masked_words_file),
            resume_grace_s=settings.resume_grace_s,
            max_parked=settings.max_parked,
        ),
        engine=EngineLimits(
            max_backlog_s=settings.max_backlog_s,
            max_unsent_results=settings.max_unsent_results,
        ),
        load_reports=settings.load_reports,
        channelz=settings.channelz,
        security=security_of(settings),
    )
    config = AppConfig(
        n_front_ends=_n_front_ends(settings),
        front_end=front_end,
        max_batch_delay_ms=settings.max_batch_delay_ms,
        max_load=settings.max_load,
        log_level=settings.log_level,
        log_format=settings.log_format,
        tracing=settings.tracing,
        observe=ObserveConfig(
            metrics_host=settings.metrics_host,
            metrics_port=settings.metrics_port,
            admin_host=settings.admin_host,
            admin_port=settings.admin_port,
        ),
    )

    def models() -> Models:
        now = reload()
        names = (now.model, *now.models)
        return Models(names, now.aliases, {name: _version_of(name) for name in names})

    loaded: list[str] = []

    def load(name: str) -> ModelBackend:
        backend = load_backend(name, settings)
        loaded.append(name)
        return backend

    # Asking for the devices imports torch: not before the models' thread has done so.
    app = App(config, models, load, lambda: _read_devices() if loaded else ())
    await app.run(
        on_bound=lambda port: _log.info(
            "listening on %s:%d, loading %s", settings.host, port, settings.model
        )
    )
    return app


def _read_devices() -> Sequence[DeviceUsage]:
    from siren_grpc.models.device_usage import read_devices

    return read_devices()


def _version_of(model: str) -> tuple[int, int, int] | None:
    """Return what changes when a checkpoint is replaced by another; None if it is no file."""
    try:
        found = Path(model).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _masked_words(file: Path | None) -> frozenset[str]:
    """Read the list of words to mask. Raises ValueError or OSError, for the operator."""
    if file is None:
        return frozenset()
    try:
        return read_masked_words(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"masked_words_file {file}: {error}") from error


def _n_front_ends(settings: Settings) -> int:
    return settings.front_ends or front_ends_for(cores())


class ModelLoadFailed(Exception):
    """The model of the settings cannot be served; the message is for the operator."""


def load_backend(name: str, settings: Settings) -> ModelBackend:
    """Load and warm up a model. Raises ModelLoadFailed."""
    _log.info("importing NeMo; this takes some seconds")
    from siren_grpc.models.start import start_backend

    try:
        return start_backend(
            name,
            device=settings.device,
            threads=settings.threads,
            parallel_steps=settings.parallel_steps,
            n_front_ends=_n_front_ends(settings),
            n_slots=settings.max_sessions,
            max_batch=settings.max_batch,
            session_memory_mb=settings.session_memory_mb,
            encoder_cache=EncoderCache(settings.encoder_cache),
            precision=Precision(settings.precision),
            chunk_frames=settings.chunk_frames,
            decoder=DecoderKind(settings.decoder) if settings.decoder else None,
            buffered=BufferedSeconds(
                settings.buffered_left_s, settings.buffered_chunk_s, settings.buffered_right_s
            ),
        )
    except Exception as error:
        _log.debug("loading %s failed", name, exc_info=True)
        raise ModelLoadFailed(
            f"cannot serve model {name!r}: {error} "
            "(--log-level debug shows where; `siren pull MODEL` fetches a hub model ahead)"
        ) from error


def _pull(
    model: Annotated[str, typer.Argument(help="Hub name, .nemo path, or siren-mini-en.")],
) -> None:
    configure_logging("warning")
    from siren_grpc.models.pull import pull

    try:
        path = pull(model)
    except Exception as error:
        _fail(f"cannot fetch {model!r}: {error}")
        raise typer.Exit(1) from None
    _console.print(f"[green]ready:[/green] {model} ({path})")
