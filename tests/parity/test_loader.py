"""From names to models: the real loading path, on checkpoints made here."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from siren_grpc.domain.geometry import BufferedContext, BufferedSeconds
from siren_grpc.domain.model import DecoderKind, Lane, Precision
from siren_grpc.models.buffered_backend import BufferedBackend
from siren_grpc.models.loader import UnsupportedModel, load, model_id
from siren_grpc.models.pull import pull
from siren_grpc.models.shared_settings import Unmet
from siren_grpc.models.start import start_backend
from tests.parity.siren_path import assert_speaks, recognise, snapshot, started
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
    backend = started(HUB_NAME, device="auto")
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


@pytest.fixture(scope="module")
def offline(folder: Path) -> Path:
    return checkpoints.build_parakeet_hybrid(folder / "parakeet-tdt_ctc.nemo", tune=False)


class TestOfflineModels:
    def test_are_recognised_and_offered_with_presets(self, offline: Path) -> None:
        backend = load(str(offline), device="cpu", n_slots=1, max_batch=1)
        assert isinstance(backend, BufferedBackend)
        info = backend.info
        assert info.id == "parakeet-tdt_ctc"
        assert info.family == "buffered-fastconformer"
        assert info.decoders == (DecoderKind.TDT, DecoderKind.CTC)
        assert info.look_aheads == (3, 6, 25)
        assert info.default_chunk_frames == 25
        latencies = [info.geometry(frames).latency_ms for frames in info.look_aheads]
        assert latencies == [480, 960, 4000]

    def test_take_a_window_of_ones_own(self, offline: Path) -> None:
        own = BufferedSeconds(left_s=4.0, chunk_s=1.0, right_s=0.4)
        backend = load(
            str(offline),
            device="cpu",
            n_slots=2,
            max_batch=2,
            decoder=DecoderKind.CTC,
            buffered=own,
        )
        assert backend.info.look_aheads == (3, 6, 12, 25)
        assert backend.info.default_chunk_frames == 12
        assert backend.info.buffered[2] == BufferedContext(50, 12, 5)
        assert backend.info.decoders == (DecoderKind.CTC, DecoderKind.TDT)

    def test_may_default_to_a_preset_and_keep_it_beside_their_own(self, offline: Path) -> None:
        own = BufferedSeconds(left_s=6.0, chunk_s=2.0, right_s=1.0)
        backend = load(
            str(offline), device="cpu", n_slots=1, max_batch=1, chunk_frames=3, buffered=own
        )
        assert backend.info.default_chunk_frames == 3
        assert backend.info.buffered[-1] == BufferedContext(75, 25, 12)

    def test_do_without_what_they_cannot_follow_where_they_may(self, offline: Path) -> None:
        """Asked once each, although a backend of one slot is made first, to be measured."""
        unmet: list[Unmet] = []
        backend = start_backend(
            str(offline),
            device="cpu",
            threads=1,
            n_slots=1,
            max_batch=1,
            chunk_frames=7,
            decoder=DecoderKind.RNNT,
            precision=Precision.INT8,
            session_memory_mb=64,
            buffered=BufferedSeconds(1.0, 0.5, 0.5),
            on_unmet=unmet.append,
        )
        assert [each.setting for each in unmet] == ["chunk_frames", "decoder"]
        assert backend.info.default_chunk_frames == 6
        assert backend.info.decoders == (DecoderKind.TDT, DecoderKind.CTC)

    def test_are_warmed_up_without_a_trace(self, offline: Path) -> None:
        backend = started(str(offline), buffered=BufferedSeconds(1.0, 0.5, 0.5))
        warmed = snapshot(backend)
        for key in ("wave", "filled", "decoded_frames", "rnnt_frames", "tdt_jumps", "ctc_frames"):
            assert not warmed[key].any(), key


class TestRefusals:
    def refused(self, path: Path, **defaults: object) -> str:
        with pytest.raises(UnsupportedModel) as caught:
            load(str(path), device="cpu", n_slots=1, max_batch=1, **defaults)  # type: ignore[arg-type]
        return str(caught.value)

    def test_windows_an_offline_model_is_not_offered_with(self, offline: Path) -> None:
        assert "it offers 3, 6, 25" in self.refused(offline, chunk_frames=7)
        assert "it has tdt, ctc" in self.refused(offline, decoder=DecoderKind.RNNT)
        no_chunk = BufferedSeconds(10.0, 0.01, 1.0)
        assert "at least one encoder frame" in self.refused(offline, buffered=no_chunk)

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
