"""Conformer layers stepped here leave NeMo's own as they are: their hooks, weights and answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from nemo.collections.asr.models import ASRModel

from siren_grpc.domain.model import DecoderKind, EncoderCache, Lane, Precision
from siren_grpc.models.conformer import ConformerLayers, why_unsupported
from siren_grpc.models.encoder import InputCacheEncoder, KeyValueEncoder
from siren_grpc.models.loader import backend_of, restore
from siren_grpc.models.nemo_backend import NemoBackend
from tests.parity.siren_path import assert_speaks, recognise
from tests.support import sounds
from tests.support.nemo_reference import NemoReference

pytestmark = pytest.mark.parity

MAKE = Any
"""The fixture `pair_of`, which also knows the checkpoints' paths."""
RNNT = DecoderKind.RNNT
CONTEXTS = {2: (70, 1), 7: (70, 6)}


@pytest.fixture
def path(pair_of: MAKE) -> Path:
    found: Path = pair_of.path_of("hybrid")
    return found


@pytest.fixture
def model(path: Path) -> ASRModel:
    return restore(str(path), device="cpu")


def backend_for(model: ASRModel, **options: Any) -> NemoBackend:
    backend = backend_of(model, "hooked", n_slots=2, max_batch=2, **options)
    assert isinstance(backend, NemoBackend)
    return backend


class TestHooks:
    """A multi-talker model hears whom it is to hear by hooks on its layers."""

    @staticmethod
    def hang(model: Any) -> None:
        """Hook a layer before and behind, as NeMo's `SpeakerKernelMixin` does."""

        def with_kernel(x: torch.Tensor) -> torch.Tensor:
            return x + 0.1 * x.roll(1, dims=-1)

        def before(_: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return args, kwargs | {"x": with_kernel(kwargs["x"])}

        def behind(_: Any, args: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (with_kernel(output[0]), *output[1:])
            return with_kernel(output)

        model.encoder.layers[0].register_forward_pre_hook(before, with_kwargs=True)
        model.encoder.layers[0].register_forward_hook(behind)

    @pytest.mark.parametrize("cache", EncoderCache)
    def test_are_run(self, path: Path, model: ASRModel, cache: EncoderCache) -> None:
        samples = sounds.babble(16_000 * 3, seed=1)
        nemo, lane = NemoReference(path), Lane(7, RNNT)
        plain = recognise(backend_for(model, encoder_cache=cache), samples, lane)
        for hooked in (nemo.model, model):
            self.hang(hooked)
        backend = backend_for(model, encoder_cache=cache)
        assert isinstance(backend._parts.encoder, InputCacheEncoder)
        ours = recognise(backend, samples, lane)
        theirs = nemo.decode_stepwise(samples, CONTEXTS[7], "rnnt")
        assert_speaks(ours)
        assert (ours.tokens, ours.frames) == (theirs.tokens, theirs.frames)
        assert ours.tokens != plain.tokens

    @pytest.mark.parametrize(
        "part", ["layers.1", "layers.1.self_attn.linear_q", "layers.0.conv", "pre_encode"]
    )
    def test_on_any_part_are_known_until_they_are_removed(self, model: Any, part: str) -> None:
        encoder = model.encoder
        module = encoder.get_submodule(part)
        assert why_unsupported(encoder) is None
        for hang in (module.register_forward_hook, module.register_forward_pre_hook):
            hook = hang(lambda *_: None)
            assert why_unsupported(encoder) == "forward hooks"
            hook.remove()
            assert why_unsupported(encoder) is None

    def test_are_run_at_every_precision(self, model: Any) -> None:
        """Linear layers become coarser but for those with hooks of their own."""
        self.hang(model)
        run = []
        part = model.encoder.layers[0].feed_forward1
        part.linear1.register_forward_hook(lambda *_: run.append("hook"))
        backend = backend_for(model, precision=Precision.BF16)
        assert isinstance(part.linear1, torch.nn.Linear)
        assert not isinstance(part.linear2, torch.nn.Linear)
        assert_speaks(recognise(backend, sounds.babble(16_000 * 3, seed=1), Lane(7, RNNT)))
        assert run


class TestWeights:
    @staticmethod
    def bytes_of(tensors: list[torch.Tensor]) -> int:
        """Return the memory behind tensors, that of several counted once."""
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors}
        return sum(storage.nbytes() for storage in storages.values())

    @staticmethod
    def heard_by(linear: Callable[[torch.Tensor], torch.Tensor]) -> list[torch.Tensor]:
        """Return the tensors a linear layer of ours holds on to."""
        cells = getattr(linear, "__closure__", None) or ()
        return [c.cell_contents for c in cells if isinstance(c.cell_contents, torch.Tensor)]

    def ours(self, layers: ConformerLayers) -> list[torch.Tensor]:
        held = [vars(layer).values() for layer in layers._layers]
        values = [value for of_layer in held for value in of_layer]
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        return tensors + [t for value in values if callable(value) for t in self.heard_by(value)]

    @pytest.mark.parametrize("name", ["nemotron", "hybrid"])
    def test_are_held_once(self, pair_of: MAKE, name: str) -> None:
        """With biases (hybrid) and without."""
        model: Any = restore(str(pair_of.path_of(name)), device="cpu")
        encoder = model.encoder
        theirs = list(encoder.layers.parameters())
        alone = self.bytes_of(theirs)
        stepped = KeyValueEncoder(encoder, CONTEXTS, n_slots=2)
        ours = self.ours(stepped.layers)
        assert self.bytes_of(ours) > 0.8 * alone, "the weights of the linear layers are not seen"
        # A depthwise convolution's few weights lie in another order here.
        both = self.bytes_of([*encoder.layers.parameters(), *ours])
        assert alone <= both < 1.02 * alone
        # Nor does another backend of the same model add to them.
        KeyValueEncoder(encoder, CONTEXTS, n_slots=2)
        assert self.bytes_of(list(encoder.layers.parameters())) == alone

    @pytest.mark.parametrize("name", ["nemotron", "hybrid"])
    def test_are_not_held_beside_coarser_ones(self, pair_of: MAKE, name: str) -> None:
        model: Any = restore(str(pair_of.path_of(name)), device="cpu")
        encoder = model.encoder
        alone = self.bytes_of(list(encoder.layers.parameters()))
        stepped = KeyValueEncoder(encoder, CONTEXTS, n_slots=2, precision=Precision.BF16)
        ours = self.ours(stepped.layers)
        assert self.bytes_of(ours) > 0.4 * alone, "the weights of the linear layers are not seen"
        assert self.bytes_of([*encoder.layers.parameters(), *ours]) < 0.6 * alone

    @pytest.mark.parametrize("precision", [Precision.BF16, Precision.FP16, Precision.INT8])
    def test_make_several_backends_of_one_model(
        self, model: ASRModel, precision: Precision
    ) -> None:
        """As a server does that measures a session first, and a benchmark for each batch size."""
        heard = [
            recognise(
                backend_for(model, precision=precision),
                sounds.babble(16_000, seed=1),
                Lane(7, RNNT),
            )
            for _ in range(2)
        ]
        assert heard[0].tokens == heard[1].tokens
        with pytest.raises(AssertionError, match=f"at {precision.value} only"):
            backend_for(model)

    def test_are_what_they_were_to_nemo(self, path: Path) -> None:
        nemo = NemoReference(path)
        samples = sounds.babble(16_000 * 2, seed=3)
        before = nemo.encode(samples, CONTEXTS[7])
        weights = {name: value.clone() for name, value in nemo.model.state_dict().items()}
        KeyValueEncoder(nemo.model.encoder, CONTEXTS, n_slots=2)
        assert torch.equal(nemo.encode(samples, CONTEXTS[7]), before)
        for name, value in nemo.model.state_dict().items():
            assert torch.equal(value, weights[name]), name
