"""`siren serve`."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from pydantic import ValidationError

from siren_grpc.bench.console import fail
from siren_grpc.cli.models import ModelLoader, ModelLoadFailed, read_devices, version_of
from siren_grpc.cli.settings_faults import (
    check_checkpoints,
    describe,
    describe_file,
    misspelt_variables,
)
from siren_grpc.config.settings import Settings, load_settings
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.observe.logging import configure_logging
from siren_grpc.observe.tracing import TracingMissing, check_tracing
from siren_grpc.runtime import cores, share_the_cores

if TYPE_CHECKING:
    from siren_grpc.server.app import App

_log = logging.getLogger(__name__)
_USAGE_STATUS = 2

HELP = """Serve speech recognition over gRPC.

Every setting is a flag here, an environment variable (SIREN_PORT=50052) or a line of a TOML file
(port = 50052), in this order.

Examples:

  siren serve

  siren serve --model nvidia/nemotron-speech-streaming-en-0.6b

  siren token new --name phone --file tokens.txt

  siren serve --host 0.0.0.0 --tokens-file tokens.txt

  SIREN_MAX_SESSIONS=200 siren serve --config siren.toml
"""


def serve(given: dict[str, Any], file: Path | None) -> None:
    """Serve until a signal ends it. given: settings of the command line. Raises typer.Exit."""
    try:
        settings = load_settings(given, file)
    except ValidationError as error:
        raise fail("\n".join(describe(error)), status=_USAGE_STATUS) from None
    except (FileNotFoundError, ValueError) as error:
        raise fail(str(error), status=_USAGE_STATUS) from None
    configure_logging(settings.log_level, settings.log_format)
    with _sigterm_ends_the_process():
        _serve(settings, lambda: _reload(given, file))


def _serve(settings: Settings, reload: Callable[[], Settings]) -> None:
    """Serve with settings that were read. Raises typer.Exit."""
    # A crash in native code, or SIGABRT, leaves the stacks of all threads.
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    for name, value in settings.model_dump().items():
        _log.info("setting %s = %r", name, value)
    for sentence in misspelt_variables(os.environ):
        _log.warning(sentence)
    _log.info("%d core(s) to run on", cores())
    share_the_cores()
    # Imported late: grpc is quick, but `siren --help` needs none of it.
    from siren_grpc.server.app import StepperDied
    from siren_grpc.server.front_end_process import FrontEndDied

    expected = (OSError, StepperDied, FrontEndDied, ModelLoadFailed, TracingMissing, ValueError)
    try:
        app = asyncio.run(_run(settings, reload))
    except expected as error:
        told = describe_file(error, settings) if isinstance(error, OSError) else str(error)
        if settings.log_format == "json":
            _log.critical(told)
            raise typer.Exit(1) from None
        raise fail(told) from None
    if app.is_loading:
        # Stopped early: the loading thread is inside torch, whose threads would abort the
        # interpreter's orderly exit. Nothing is left to save.
        logging.shutdown()
        os._exit(0)


@contextmanager
def _sigterm_ends_the_process() -> Iterator[None]:
    """Let SIGTERM end the process in the body, until the event loop has its own way of stopping.

    Process 1 of a container is sent no signal that it does not handle: one that came during the
    imports would be lost, and the container killed when the time to stop is up.
    """

    def end(number: int, frame: object) -> None:
        with suppress(RuntimeError):  # it may come while another line is being written
            _log.info("stopping before anything was served")
        os._exit(0)  # as at every other orderly end; nothing is to be saved yet

    handler = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _reload(given: dict[str, Any], file: Path | None) -> Settings:
    """Read the settings again. Raises ValueError (pydantic's is one)."""
    try:
        return load_settings(given, file)
    except ValidationError as error:
        raise ValueError("; ".join(describe(error))) from None
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error


async def _run(settings: Settings, reload: Callable[[], Settings]) -> App:
    from siren_grpc.cli.app_config import app_config
    from siren_grpc.server.app import App
    from siren_grpc.server.itn import check_languages
    from siren_grpc.server.served_models import Models

    check_checkpoints((settings.model, *settings.models))
    check_languages(settings.itn_languages)
    if settings.tracing != "off":
        check_tracing()

    def models() -> Models:
        now = reload()
        names = (now.model, *now.models)
        return Models(names, now.aliases, {name: version_of(name) for name in names})

    loaded: list[str] = []
    loader = ModelLoader(settings)

    def load(name: str) -> ModelBackend:
        backend = loader.load(name)
        loaded.append(name)
        return backend

    # Asking for the devices imports torch: not before the models' thread has done so.
    app = App(app_config(settings), models, load, lambda: read_devices() if loaded else ())
    await app.run(
        on_bound=lambda port: _log.info(
            "listening on %s:%d, loading %s", settings.host, port, settings.model
        )
    )
    return app
