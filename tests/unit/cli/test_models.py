from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from siren_grpc.cli import models
from siren_grpc.cli.models import ModelLoader, ModelLoadFailed
from siren_grpc.config.settings import Settings, load_settings
from siren_grpc.domain.model import DecoderKind
from siren_grpc.models.shared_settings import Offer, Wanted, choose

OFFERS = {
    "streaming": Offer("streaming", (1, 2, 7, 14), 7, (DecoderKind.RNNT,)),
    "offline": Offer("offline", (3, 6, 25), 25, (DecoderKind.TDT,), is_buffered=True),
}


def start_backend(name: str, **asked: Any) -> Any:
    """Stand for `siren_grpc.models.start.start_backend`; what is chosen stands for the backend."""
    wanted = Wanted(asked["chunk_frames"], asked["decoder"])
    return choose(wanted, OFFERS[name], asked["on_unmet"])


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_import_nemo", lambda: start_backend)
    monkeypatch.setattr(models, "take_in_nemo", lambda level: None)


def settings_of(*names: str, **given: object) -> Settings:
    return load_settings({"model": names[0], "models": names[1:], **given}, None)


def loaded(settings: Settings) -> Callable[[str], Any]:
    return ModelLoader(settings).load


def test_a_model_that_cannot_follow_a_setting_says_so_and_uses_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load = loaded(settings_of("offline", "streaming", chunk_frames=14, decoder="rnnt"))
    offline, streaming = load("offline"), load("streaming")
    assert (offline.chunk_frames, offline.decoder) == (25, DecoderKind.TDT)
    assert (streaming.chunk_frames, streaming.decoder) == (14, DecoderKind.RNNT)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        "model offline uses chunk_frames 25 instead of 14: offline is not offered with "
        "chunk_frames 14; it offers 3, 6, 25, and what the settings of buffered streaming add",
        "model offline uses decoder tdt instead of rnnt: offline has no rnnt decoder; it has tdt",
    ]


def test_a_setting_that_no_model_can_follow_is_refused_with_what_would_be_right() -> None:
    load = loaded(settings_of("offline", "streaming", chunk_frames=5))
    load("offline")
    with pytest.raises(ModelLoadFailed, match="chunk_frames unset, or set it to 3, 6, 25, 1, 2"):
        load("streaming")


def test_a_model_alone_is_refused_and_one_loaded_later_is_not() -> None:
    with pytest.raises(ModelLoadFailed, match=r"'offline': .* it offers 3, 6, 25"):
        loaded(settings_of("offline", chunk_frames=14))("offline")
    load = loaded(settings_of("streaming", chunk_frames=14))
    assert load("streaming").chunk_frames == 14
    assert load("offline").chunk_frames == 25


def test_a_checkpoint_that_comes_in_the_place_of_another_may_do_without_a_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = loaded(settings_of("streaming", chunk_frames=14))
    assert load("streaming").chunk_frames == 14
    monkeypatch.setitem(OFFERS, "streaming", OFFERS["offline"])
    assert load("streaming").chunk_frames == 25


@pytest.mark.parametrize(
    ("name", "is_hubs"), [("nvidia/some", True), ("mine.nemo", False), ("siren-mini-en", False)]
)
def test_what_cannot_be_loaded_says_how_hub_models_are_had_if_it_may_be_one(
    name: str, is_hubs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **asked: Any) -> Any:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(models, "_import_nemo", lambda: fail)
    with pytest.raises(ModelLoadFailed, match="no such thing") as caught:
        loaded(settings_of(name))(name)
    assert ("siren pull MODEL" in str(caught.value)) == is_hubs
