"""What is read of a checkpoint is what NeMo itself goes by."""

from __future__ import annotations

from typing import Any

import pytest
from nemo.collections.asr.models import EncDecCTCModel
from nemo.collections.asr.parts.submodules.rnnt_decoding import RNNTBPEDecoding
from omegaconf import OmegaConf, open_dict

from siren_grpc.models.checkpoint import max_symbols_of, slot_phrases_of
from siren_grpc.models.loader import restore
from siren_grpc.models.spelling import Speller
from siren_grpc.models.vocabulary import token_texts
from tests.support.checkpoint_configs import common, ctc_head

pytestmark = pytest.mark.parity

OLD, NEW = [" ", "a", "b", "c"], [" ", "d", "a", "\u00e9", "'"]


def character_ctc() -> Any:
    """Return a small CTC model of characters, as NeMo's conformer_ctc_char.yaml has it."""
    config = common(
        features=80, contexts=[[70, 6]], use_bias=True, xscaling=True, style="chunked_limited"
    )
    config |= {"labels": OLD, "decoder": ctc_head() | {"num_classes": len(OLD), "vocabulary": OLD}}
    config["decoding"] = {"strategy": "greedy"}
    config["ctc_reduction"] = "mean_batch"
    return EncDecCTCModel(cfg=OmegaConf.create(config))


class TestCharacters:
    def test_are_those_of_the_output_layer(self) -> None:
        model = character_ctc()
        assert token_texts(model) == tuple(OLD)
        model.change_vocabulary(NEW)
        assert token_texts(model) == tuple(NEW)
        assert Speller(model).spell("d'ad\u00e9") == [[1, 4, 2, 1, 3]]
        with pytest.raises(ValueError, match="cannot write 'b'"):
            Speller(model).spell("bad")
        slot_phrases_of(model, 2)

    def test_need_no_labels_beside_it(self) -> None:
        model = character_ctc()
        with open_dict(model.cfg):
            del model.cfg.labels
        assert token_texts(model) == tuple(OLD)
        assert Speller(model).spell("a cab") == [[1, 0, 3, 1, 2]]


@pytest.mark.parametrize(
    "greedy",
    [
        {"max_symbols": 7},
        {"max_symbols_per_step": 4},
        {"max_symbols": None, "max_symbols_per_step": 5},
        {"max_symbols": 3, "max_symbols_per_step": 8},
    ],
)
def test_most_symbols_of_a_frame_are_nemos(pair_of: Any, greedy: dict[str, int | None]) -> None:
    model: Any = restore(str(pair_of.path_of("hybrid")), device="cpu")
    options = OmegaConf.to_container(model.cfg.decoding) | {"greedy": greedy}
    model.cfg.decoding = OmegaConf.create(options)
    nemo = RNNTBPEDecoding(model.cfg.decoding, model.decoder, model.joint, model.tokenizer)
    assert max_symbols_of(model) == nemo.decoding.max_symbols


@pytest.mark.parametrize("greedy", [None, {}, {"max_symbols": None}])
def test_without_a_number_of_its_own_a_model_has_ours(
    pair_of: Any, greedy: dict[str, None] | None
) -> None:
    model: Any = restore(str(pair_of.path_of("hybrid")), device="cpu")
    model.cfg.decoding = {"strategy": "greedy_batch", "greedy": greedy}
    assert max_symbols_of(model) == 10
