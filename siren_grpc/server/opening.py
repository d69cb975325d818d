"""From a config that was accepted to what recognises its stream."""

from __future__ import annotations

from dataclasses import dataclass

from siren_grpc.audio.channels import ChannelMode
from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.principal import Caller
from siren_grpc.engine.engine import Engine
from siren_grpc.engine.separate import SeparateSession
from siren_grpc.engine.session import EngineSession
from siren_grpc.server.request import ValidConfig
from siren_grpc.session.ingress import Ingress, IngressConfig
from siren_grpc.session.separate import SeparateIngress


@dataclass(frozen=True, slots=True)
class ServiceLimits:
    """What one stream may do, and how it is read; see the settings of the same names.

    masked_words: the content of `masked_words_file`.
    """

    preview_ms: int
    tail_padding_ms: int
    idle_timeout_s: float
    max_session_s: float | None
    masked_words: frozenset[str]
    resume_grace_s: float
    max_parked: int


async def open_recognition(
    engine: Engine,
    config: ValidConfig,
    limits: ServiceLimits,
    caller: Caller,
    traceparent: str,
    *,
    is_live: bool,
) -> tuple[EngineSession, Ingress] | tuple[SeparateSession, SeparateIngress]:
    """Open what recognises a stream: a session, or one for each separate channel.

    Raises what the engine refuses a session with; then none of them stays open.
    """
    sessions: list[EngineSession] = []
    try:
        for _ in range(config.audio.channels.n_transcripts):
            session = await engine.open(
                config.lane,
                config.options,
                config.text,
                model_options=config.model_options,
                phrases=config.phrases,
                words=config.words,
                alternatives=config.alternatives,
                is_live=is_live,
                caller=caller,
                traceparent=traceparent,
            )
            sessions.append(session)
    except BaseException:
        for session in sessions:
            session.close()
        raise
    ingress_config = _ingress_config(config, limits, sessions[0].info, has_previews=is_live)
    if config.audio.channels.mode is ChannelMode.SEPARATE:
        ingress = SeparateIngress(ingress_config)
        return SeparateSession(sessions, ingress.channels), ingress
    return sessions[0], Ingress(ingress_config)


def _ingress_config(
    config: ValidConfig, limits: ServiceLimits, info: ModelInfo, *, has_previews: bool
) -> IngressConfig:
    features = info.features
    max_s = limits.max_session_s
    return IngressConfig(
        audio=config.audio,
        geometry=info.geometry(config.lane.chunk_frames),
        preview_samples=features.samples_of_ms(limits.preview_ms) if has_previews else 0,
        padding_samples=features.samples_of_ms(limits.tail_padding_ms),
        max_samples=None if max_s is None else int(max_s * features.sample_rate_hertz),
        options=config.options,
    )
