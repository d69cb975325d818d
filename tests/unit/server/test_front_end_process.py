from __future__ import annotations

import asyncio

import grpc.aio
import pytest
from siren.v1 import speech_pb2 as pb
from siren.v1 import speech_pb2_grpc

from siren_grpc.engine.host import EngineHost
from siren_grpc.server.front_end import Catalog
from siren_grpc.server.front_end_process import FrontEndProcess
from siren_grpc.server.names import ModelNames
from tests.support.bare_front_end import front_end_config
from tests.support.builders import make_info


@pytest.mark.parametrize("is_loaded", [False, True])
async def test_its_first_call_sees_the_models_it_was_started_with(is_loaded: bool) -> None:
    """Who lost the one before comes at once, and must not hear that no model is loaded."""
    info = make_info()
    front_end = FrontEndProcess(
        front_end_config(),
        EngineHost(),
        log_level="warning",
        log_format="text",
        tracing="off",
    )
    port = await front_end.start(Catalog((info,), ModelNames(info.id)) if is_loaded else None)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = speech_pb2_grpc.SpeechServiceStub(channel)
            response = await stub.ListModels(pb.ListModelsRequest(), timeout=30)
            assert [model.id for model in response.models] == [info.id] * is_loaded
    finally:
        hurry = asyncio.Event()
        hurry.set()
        await front_end.stop(hurry)
