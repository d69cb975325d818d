"""Each channel is cut as it would be alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_grpc.audio.channels import ChannelMode, ChannelPlan
from siren_grpc.audio.decode import Encoding
from siren_grpc.audio.source import AudioSpec
from siren_grpc.domain.errors import InvalidAudio, InvalidMessage, SessionTooLong
from siren_grpc.domain.work import Chunk, EndStream, EndUtterance, Feed, OnChannel, Preview, Work
from siren_grpc.session.ingress import IngressConfig
from siren_grpc.session.separate import SeparateIngress
from tests.support.builders import make_geometry, make_ingress


def separate(n_channels: int, max_samples: int | None = None) -> SeparateIngress:
    plan = ChannelPlan(n_channels, ChannelMode.SEPARATE)
    return SeparateIngress(
        IngressConfig(
            audio=AudioSpec(Encoding.LINEAR16, 8000, plan),
            geometry=make_geometry(),
            preview_samples=800,
            padding_samples=500,
            max_samples=max_samples,
        )
    )


def essence(work: list[Work]) -> list[object]:
    return [
        (type(item).__name__, item.seq, item.end_samples, samples_of(item))
        for item in work
        if not isinstance(item, EndStream)
    ]


def samples_of(item: Work) -> bytes:
    return item.samples.tobytes() if isinstance(item, Chunk | Preview) else b""


@settings(max_examples=40)
@given(
    st.integers(1, 4),
    st.lists(st.integers(0, 3000), min_size=1, max_size=8),
    st.sampled_from(["", "finalize"]),
)
def test_work_is_that_of_the_channel_alone(n_channels: int, sizes: list[int], control: str) -> None:
    generator = np.random.default_rng(len(sizes))
    audio = generator.integers(-999, 999, (sum(sizes), n_channels)).astype("<i2")
    both = separate(n_channels)
    alone = [
        make_ingress(hertz=8000, preview_samples=800, padding_samples=500)
        for _ in range(n_channels)
    ]
    fed: list[Feed] = []
    works: list[list[Work]] = [[] for _ in alone]
    start = 0
    for seq, size in enumerate(sizes, 1):
        part = audio[start : start + size]
        start += size
        fed += [item for piece in both.audio_pieces(part.tobytes(), seq) for item in piece]
        for channel, ingress in enumerate(alone):
            works[channel] += ingress.receive_audio(part[:, channel].tobytes(), seq)
        if control:
            fed += getattr(both, control)()
            for channel, ingress in enumerate(alone):
                works[channel] += getattr(ingress, control)()
    fed += both.end()
    assert fed[-1] == EndStream()
    for channel, ingress in enumerate(alone):
        own = [i.work for i in fed if isinstance(i, OnChannel) and i.channel == channel]
        assert essence(own) == essence([*works[channel], *ingress.end()])


def test_what_ends_one_channel_ends_all_with_one_error() -> None:
    ingress = separate(2, max_samples=1600)
    *work, end = [i for piece in ingress.audio_pieces(bytes(4 * 2000), 1) for i in piece]
    assert isinstance(end, EndStream)
    assert isinstance(end.error, SessionTooLong)
    ends = [i.channel for i in work if isinstance(i.work, EndUtterance)]
    assert ends == [0, 1]
    with pytest.raises(InvalidMessage):
        ingress.end()


def test_half_a_point_in_time_at_the_end() -> None:
    ingress = separate(2)
    list(ingress.audio_pieces(bytes(4 * 100 + 2), 1))
    *_, end = ingress.end()
    assert isinstance(end, EndStream)
    assert isinstance(end.error, InvalidAudio)
    assert ingress.is_ended


def test_nothing_of_a_message_is_heard_behind_the_limit() -> None:
    ingress = separate(2, max_samples=1600)
    pieces = list(ingress.audio_pieces(bytes(4 * 8000 * 60), 1))
    assert [type(item) for piece in pieces for item in piece].count(EndStream) == 1
    assert isinstance(pieces[-1][-1], EndStream)
