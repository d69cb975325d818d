"""What may be said of phrases without the model's vocabulary."""

from __future__ import annotations

import pytest
from siren.v1 import speech_pb2 as pb

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.model import DecoderKind
from siren_grpc.domain.phrases import DEFAULT_BOOST, Phrase
from siren_grpc.server.convert import to_config, to_model
from tests.support.builders import make_info

INFO = make_info(biasing_decoders=(DecoderKind.RNNT, DecoderKind.CTC))


def config(*phrases: pb.Phrase, boost: float | None = None) -> pb.StreamingConfig:
    return pb.StreamingConfig(biasing=pb.BiasingConfig(phrases=phrases, boost=boost))


def test_boosts_are_a_phrases_own_or_the_lists_or_the_servers() -> None:
    own, other = pb.Phrase(text="  siren \n two ", boost=4.5), pb.Phrase(text="nine")
    assert to_config(config(own, other, boost=1.5), INFO).phrases == (
        Phrase("siren two", 4.5),
        Phrase("nine", 1.5),
    )
    assert to_config(config(other), INFO).phrases == (Phrase("nine", DEFAULT_BOOST),)
    assert to_config(pb.StreamingConfig(), INFO).phrases == ()


def test_a_thousand_phrases_of_200_characters_are_taken() -> None:
    phrases = [pb.Phrase(text=f"{i:03} ".ljust(200, "x"), boost=10) for i in range(1000)]
    assert len(to_config(config(*phrases), INFO).phrases) == 1000


@pytest.mark.parametrize(
    ("phrases", "boost", "field", "says"),
    [
        ([pb.Phrase(text="a")] * 1001, None, "phrases[1000]", "at most 1000"),
        ([pb.Phrase(text="a"), pb.Phrase(text=" \t")], None, "phrases[1].text", "is empty"),
        ([pb.Phrase(text="a" * 201)], None, "phrases[0].text", "201 characters"),
        ([pb.Phrase(text="a", boost=0)], None, "phrases[0].boost", "at most 10"),
        ([pb.Phrase(text="a", boost=-1)], None, "phrases[0].boost", "-1 is out of range"),
        ([pb.Phrase(text="a", boost=10.01)], None, "phrases[0].boost", "at most 10"),
        ([pb.Phrase(text="a", boost=float("nan"))], None, "phrases[0].boost", "nan"),
        ([pb.Phrase(text="a")], float("inf"), "boost", "inf is out of range"),
    ],
)
def test_what_cannot_be_is_named_by_its_index(
    phrases: list[pb.Phrase], boost: float | None, field: str, says: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        to_config(config(*phrases, boost=boost), INFO)
    (violation,) = caught.value.violations
    assert violation.field == f"config.biasing.{field}"
    assert says in caught.value.message


def test_a_decoder_that_takes_none_says_which_do() -> None:
    info = make_info(biasing_decoders=(DecoderKind.RNNT,))
    asked = config(pb.Phrase(text="a"))
    asked.decoder = pb.DECODER_CTC
    with pytest.raises(InvalidConfig, match=r"ctc decoder .* use rnnt"):
        to_config(asked, info)
    with pytest.raises(InvalidConfig, match="leave them out"):
        to_config(config(pb.Phrase(text="a")), make_info())
    assert to_model(info, is_default=True).biasing_decoders == [pb.DECODER_RNNT]
