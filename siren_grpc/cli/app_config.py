"""From an operator's settings to the configuration of each part of the server."""

from __future__ import annotations

from pathlib import Path

from siren_grpc.cli.models import n_front_ends
from siren_grpc.config.settings import Settings
from siren_grpc.engine.session import EngineLimits
from siren_grpc.server.app import AppConfig
from siren_grpc.server.connections import ConnectionLimits
from siren_grpc.server.front_end import FrontEndConfig
from siren_grpc.server.observer import ObserveConfig
from siren_grpc.server.opening import ServiceLimits
from siren_grpc.server.security.setup import security_of
from siren_grpc.text.masking import read_masked_words


def app_config(settings: Settings) -> AppConfig:
    """Configure a server. Raises ValueError or OSError, for the operator."""
    return AppConfig(
        n_front_ends=n_front_ends(settings),
        front_end=_front_end_config(settings),
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


def _front_end_config(settings: Settings) -> FrontEndConfig:
    return FrontEndConfig(
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
            masked_words=masked_words(settings.masked_words_file),
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


def masked_words(file: Path | None) -> frozenset[str]:
    """Read the list of words to mask. Raises ValueError or OSError, for the operator."""
    if file is None:
        return frozenset()
    try:
        return read_masked_words(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"masked_words_file {file}: {error}") from error
