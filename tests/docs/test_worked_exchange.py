"""The worked exchange of the protocol is what its rules make of that audio and those words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.step import StepResult
from siren_grpc.domain.work import Chunk, EndUtterance, Preview
from siren_grpc.server import convert
from siren_grpc.server.call_id import CallId
from siren_grpc.session.utterance import Utterance
from siren_grpc.text.detokenizer import Detokenizer
from tests.support.builders import make_info, make_ingress

ROOT = Path(__file__).parents[2]
PAGES = ["proto/siren/v1/speech.proto", "docs/protocol.md"]
INFO = make_info(token_texts=(" seven", " up"), look_aheads=(7,), default_chunk_frames=7)
SPOKEN = {4: 0, 11: 1}
"""The token emitted in each encoder frame."""
FRAME, PREVIEW, MESSAGE_BYTES, N_MESSAGES = 1280, 2560, 3200, 9


def told() -> Iterator[pb.StreamingRecognizeResponse]:
    """What a server with its default settings answers, however fast it is."""
    config = convert.to_config(pb.StreamingConfig(sample_rate_hertz=16_000), INFO)
    started = convert.to_started(CallId(), INFO, config)
    yield pb.StreamingRecognizeResponse(started=started)
    ingress = make_ingress(chunk_frames=7, preview_samples=PREVIEW, padding_samples=8000)
    utterance = Utterance(Detokenizer(INFO.token_texts, INFO.punctuation), INFO.geometry(7))
    work = [
        item
        for seq in range(1, N_MESSAGES + 1)
        for item in ingress.receive_audio(bytes(MESSAGE_BYTES), seq)
    ]
    n_stable = 0
    for item in [*work, *ingress.end()]:
        if isinstance(item, Chunk | Preview):
            n_frames = item.end_samples // FRAME
            frames = [frame for frame in SPOKEN if n_stable <= frame <= n_frames]
            if isinstance(item, Chunk):
                n_stable = n_frames + 1
            tokens = tuple(SPOKEN[frame] for frame in frames)
            results = utterance.advance(item, StepResult(tokens, tuple(frames)))
        elif isinstance(item, EndUtterance):
            results = utterance.finish(item)
        else:
            continue
        for result in results:
            yield convert.to_response(result, convert.Reception(16_000, 0, 0.0))


def shown(page: str) -> list[tuple[str, dict[str, str]]]:
    """The responses a page shows, and the fields it shows of each."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\n//", " ")
    text = text[text.index("config {sample_rate_hertz: 16000}") :]
    text = text[: text.index("status")]
    responses = re.findall(r"(started|partial|event|final) \{(.*?)\}", text)
    return [
        (kind, dict(re.findall(r"(\w+): (\"[^\"]*\"|[\w.]+)", fields)))
        for kind, fields in responses
    ]


def written(value: object) -> str:
    """A field's value as pages write it."""
    if isinstance(value, Duration):
        return f"{value.ToMilliseconds() / 1000:g}s"
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("page", PAGES)
def test_the_worked_exchange_follows_from_the_rules(page: str) -> None:
    responses = list(told())
    found = shown(page)
    assert [kind for kind, _ in found] == [r.WhichOneof("response") for r in responses]
    for (kind, fields), response in zip(found, responses, strict=True):
        message = getattr(response, kind)
        for name, value in fields.items():
            if name in ("session_id", "model"):
                continue
            actual = getattr(message, name)
            if name == "type":
                assert value == pb.SpeechEvent.Type.Name(actual)
            elif name == "cause":
                assert value == pb.FinalResult.Cause.Name(actual)
            elif value.endswith("s"):
                assert f"{float(value[:-1]):g}s" == written(actual)
            else:
                assert value == written(actual), (kind, name)
