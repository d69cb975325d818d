"""The models of `siren serve`: which there are to be, and how they are loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from siren_grpc.config.settings import Settings
from siren_grpc.domain.geometry import BufferedSeconds
from siren_grpc.domain.model import DecoderKind, EncoderCache, Precision
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.models.shared_settings import SharedSettings, Unmet
from siren_grpc.observe.device import DeviceUsage
from siren_grpc.observe.logging import take_in_nemo
from siren_grpc.runtime import cores, front_ends_for, importing_for_good

_log = logging.getLogger(__name__)


class ModelLoadFailed(Exception):
    """The model of the settings cannot be served; the message is for the operator."""


@cache
def _import_nemo() -> Callable[..., ModelBackend]:
    """Import what loads models: once, before there is a model that may be unloaded again."""
    _log.info("importing NeMo; this takes some seconds")
    with importing_for_good():
        from siren_grpc.models.start import start_backend
    return start_backend


class ModelLoader:
    """Loads and warms up models, as the settings want them that the server was started with."""

    def __init__(self, settings: Settings) -> None:
        """Start before any model is loaded."""
        self._settings = settings
        self._shared = SharedSettings((settings.model, *settings.models))

    def load(self, name: str) -> ModelBackend:
        """Load and warm up a model.

        A setting that it cannot follow is left out, with a warning, as long as there is another
        model that follows it; see `SharedSettings`. Raises ModelLoadFailed.
        """

        def on_unmet(unmet: Unmet) -> None:
            if why := self._shared.refuses(name, unmet):
                raise ValueError(why)
            _log.warning(
                "model %s uses %s %s instead of %s: %s",
                unmet.model,
                unmet.setting,
                unmet.instead,
                unmet.value,
                unmet.why,
            )

        settings = self._settings
        start_backend = _import_nemo()
        take_in_nemo(settings.log_level)
        try:
            backend = start_backend(
                name,
                device=settings.device,
                threads=settings.threads,
                parallel_steps=settings.parallel_steps,
                n_front_ends=n_front_ends(settings),
                n_slots=settings.max_sessions,
                max_batch=settings.max_batch,
                session_memory_mb=settings.session_memory_mb,
                encoder_cache=EncoderCache(settings.encoder_cache),
                precision=None if settings.precision == "auto" else Precision(settings.precision),
                cuda_graphs=settings.cuda_graphs,
                chunk_frames=settings.chunk_frames,
                decoder=DecoderKind(settings.decoder) if settings.decoder else None,
                buffered=BufferedSeconds(
                    settings.buffered_left_s,
                    settings.buffered_chunk_s,
                    settings.buffered_right_s,
                ),
                on_unmet=on_unmet,
            )
        except Exception as error:
            _log.debug("loading %s failed", name, exc_info=True)
            hint = "--log-level debug shows where"
            if not (Path(name).suffix == ".nemo" or name == Settings.model_fields["model"].default):
                hint += (
                    "; `siren pull MODEL` fetches a hub model ahead, and a hub's name is OWNER/NAME"
                )
            raise ModelLoadFailed(f"cannot serve model {name!r}: {error} ({hint})") from error
        self._shared.is_loaded(name)
        return backend


def read_devices() -> Sequence[DeviceUsage]:
    """Return what the GPUs are doing. Imports torch: not before the models' thread has."""
    from siren_grpc.models.device_usage import read_devices

    return read_devices()


def version_of(model: str) -> tuple[int, int, int] | None:
    """Return what changes when a checkpoint is replaced by another; None if it is no file."""
    try:
        found = Path(model).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def n_front_ends(settings: Settings) -> int:
    """Return how many front ends there are to be."""
    return settings.front_ends or front_ends_for(cores())
