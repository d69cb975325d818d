"""From names to models: the real loading path, on checkpoints made here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from siren_grpc.domain.types import DecoderKind, Lane
from siren_grpc.models.loader import UnsupportedModel, load, model_id
from siren_grpc.models.pull import pull
from siren_grpc.models.start import start_backend
from tests.parity.siren_path import assert_speaks, recognise
from tests.support import checkpoints, sounds

pytestmark = pytest.mark.parity

HUB_NAME = "nvidia/nemotron-speech-streaming-en-0.6b"


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub cache that holds the model, laid out as the hub's client does; no network needed."""
    name = f"{HUB_NAME.split('/')[1]}.nemo"
    path = folder / "nemotron.nemo"
    if not path.is_file():
        checkpoints.build_nemotron(path)
    repository = tmp_path / f"models--{HUB_NAME.replace('/', '--')}"
    revision = hashlib.sha1(b"a revision").hexdigest()
    blob = repository / "blobs" / "blob"
    for part in (blob.parent, repository / "refs", repository / "snapshots" / revision):
        part.mkdir(parents=True)
    blob.write_bytes(path.read_bytes())
    (repository / "refs" / "main").write_text(revision)
    link = repository / "snapshots" / revision / name
    link.symlink_to(blob)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return link


def test_a_hub_name_is_served_and_pulled(hub: Path) -> None:
    backend = start_backend(
        HUB_NAME,
        device="auto",
        threads=1,
        n_slots=2,
        max_batch=2,
        chunk_frames=None,
        decoder=None,
    )
    info = backend.info
    assert info.id == HUB_NAME
    assert info.look_aheads == (1, 2, 7, 14)
    assert info.default_chunk_frames == 7
    assert info.decoders == (DecoderKind.RNNT,)
    assert info.language_codes == ("en",)
    assert {".", ",", "?"} <= info.punctuation
    assert_speaks(recognise(backend, sounds.babble(30_000, seed=1), Lane(7, DecoderKind.RNNT)))
    assert pull(HUB_NAME) == hub


def test_defaults_may_be_chosen(folder: Path) -> None:
    path = checkpoints.build_hybrid(folder / "chosen.nemo")
    backend = load(
        str(path), device="cpu", n_slots=1, max_batch=1, chunk_frames=2, decoder=DecoderKind.CTC
    )
    assert backend.info.id == "chosen"
    assert backend.info.default_chunk_frames == 2
    assert backend.info.decoders == (DecoderKind.CTC, DecoderKind.RNNT)


def test_only_contexts_that_can_be_streamed_are_offered(tmp_path: Path) -> None:
    contexts = [[-1, 13], [70, 6], [68, 1]]
    path = checkpoints.build_nemotron(tmp_path / "mixed.nemo", contexts=contexts, tune=False)
    assert load(str(path), device="cpu", n_slots=1, max_batch=1).info.look_aheads == (2, 7)


class TestRefusals:
    def refused(self, path: Path, **defaults: object) -> str:
        with pytest.raises(UnsupportedModel) as caught:
            load(str(path), device="cpu", n_slots=1, max_batch=1, **defaults)  # type: ignore[arg-type]
        return str(caught.value)

    def test_an_offline_model(self, tmp_path: Path) -> None:
        path = checkpoints.build_ctc(tmp_path / "offline.nemo", style="regular")
        message = self.refused(path)
        assert "not trained for cache-aware streaming" in message
        assert HUB_NAME in message

    def test_a_tdt_decoder(self, tmp_path: Path) -> None:
        assert "TDT" in self.refused(checkpoints.build_tdt(tmp_path / "tdt.nemo"))

    def test_an_unlimited_left_context(self, tmp_path: Path) -> None:
        # NeMo itself refuses to build a left context that is no multiple of the chunk.
        path = checkpoints.build_nemotron(tmp_path / "odd.nemo", contexts=[[-1, 6]], tune=False)
        message = self.refused(path)
        assert "no attention context that can be streamed" in message
        assert "[-1, 6]" in message

    def test_defaults_the_model_does_not_offer(self, tmp_path: Path) -> None:
        path = checkpoints.build_ctc(tmp_path / "small.nemo")
        assert "it offers 2, 7" in self.refused(path, chunk_frames=14)
        assert "it has ctc" in self.refused(path, decoder=DecoderKind.RNNT)


def test_a_missing_file_is_said() -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at nowhere\.nemo"):
        load("nowhere.nemo", device="cpu", n_slots=1, max_batch=1)


def test_ids_are_names_without_folders() -> None:
    assert model_id("models/my-model.nemo") == "my-model"
    assert model_id(HUB_NAME) == HUB_NAME
