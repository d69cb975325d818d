from __future__ import annotations

from collections.abc import Callable

import pytest

from siren_grpc.domain.model import DecoderKind
from siren_grpc.models.shared_settings import (
    Chosen,
    Offer,
    SharedSettings,
    Unmet,
    Wanted,
    choose,
    refusal,
)

RNNT, TDT, CTC = DecoderKind.RNNT, DecoderKind.TDT, DecoderKind.CTC
STREAMING = Offer("streaming", (1, 2, 7, 14), 7, (RNNT, CTC))
OFFLINE = Offer("offline", (3, 6, 25), 25, (TDT, CTC), is_buffered=True)


def chosen_and_unmet(wanted: Wanted, offer: Offer) -> tuple[Chosen, list[Unmet]]:
    unmet: list[Unmet] = []
    return choose(wanted, offer, unmet.append), unmet


class TestChoose:
    def test_what_is_wanted_where_it_is_offered(self) -> None:
        wanted = Wanted(14, CTC)
        assert chosen_and_unmet(wanted, STREAMING) == (Chosen(14, CTC), [])
        assert chosen_and_unmet(Wanted(6, TDT), OFFLINE) == (Chosen(6, TDT), [])

    @pytest.mark.parametrize(
        ("offer", "chosen"), [(STREAMING, Chosen(7, RNNT)), (OFFLINE, Chosen(25, TDT))]
    )
    def test_its_own_defaults_where_nothing_is_wanted(self, offer: Offer, chosen: Chosen) -> None:
        assert chosen_and_unmet(Wanted(), offer) == (chosen, [])

    def test_its_own_default_of_each_setting_that_it_cannot_follow(self) -> None:
        chosen, unmet = chosen_and_unmet(Wanted(14, RNNT), OFFLINE)
        assert chosen == Chosen(25, TDT)
        told = [(each.setting, each.value, each.instead, each.offered) for each in unmet]
        assert told == [
            ("chunk_frames", "14", "25", ("3", "6", "25")),
            ("decoder", "rnnt", "tdt", ("tdt", "ctc")),
        ]
        assert {each.model for each in unmet} == {"offline"}

    def test_one_setting_that_it_cannot_follow_leaves_the_others(self) -> None:
        chosen, [unmet] = chosen_and_unmet(Wanted(14, CTC), OFFLINE)
        assert chosen == Chosen(25, CTC)
        assert unmet.setting == "chunk_frames"

    def test_what_is_raised_is_raised(self) -> None:
        def refuse(unmet: Unmet) -> None:
            raise RuntimeError(unmet.setting)

        with pytest.raises(RuntimeError, match="decoder"):
            choose(Wanted(decoder=TDT), STREAMING, refuse)


def unmet_by(offer: Offer, **wanted: object) -> Unmet:
    [unmet] = chosen_and_unmet(Wanted(**wanted), offer)[1]  # type: ignore[arg-type]
    return unmet


class TestRefusal:
    @pytest.mark.parametrize(
        ("offer", "wanted", "says"),
        [
            (
                STREAMING,
                {"chunk_frames": 5},
                "streaming was not trained for chunk_frames 5; it offers 1, 2, 7, 14; leave "
                "chunk_frames unset, or set it to 1, 2, 7 or 14",
            ),
            (
                OFFLINE,
                {"chunk_frames": 5},
                "offline is not offered with chunk_frames 5; it offers 3, 6, 25, and what the "
                "settings of buffered streaming add; leave chunk_frames unset, or set it to 3, 6 "
                "or 25",
            ),
            (
                OFFLINE,
                {"decoder": RNNT},
                "offline has no rnnt decoder; it has tdt, ctc; leave decoder unset, or set it to "
                "tdt or ctc",
            ),
        ],
    )
    def test_says_what_would_be_right(self, offer: Offer, wanted: dict, says: str) -> None:
        assert refusal([unmet_by(offer, **wanted)]) == says

    def test_says_what_each_model_offers(self) -> None:
        other = Offer("other", (2, 7), 7, (CTC,))
        said = refusal([unmet_by(offer, chunk_frames=5) for offer in (STREAMING, OFFLINE, other)])
        assert all(name in said for name in ("streaming was", "offline is", "other was"))
        assert said.endswith("or set it to 1, 2, 7, 14, 3, 6 or 25")


WANTED = Wanted(14, RNNT)


def load(shared: SharedSettings, name: str, offer: Offer, wanted: Wanted = WANTED) -> list[str]:
    """Load a model as the server does, and return the settings it does without."""
    without = []

    def on_unmet(unmet: Unmet) -> None:
        if why := shared.refuses(name, unmet):
            raise ValueError(why)
        without.append(unmet.setting)

    choose(wanted, offer, on_unmet)
    shared.is_loaded(name)
    return without


ALL = ["chunk_frames", "decoder"]


class TestSharedSettings:
    def test_a_model_alone_is_refused_what_it_cannot_follow(self) -> None:
        with pytest.raises(ValueError, match="it offers 3, 6, 25"):
            load(SharedSettings(["offline"]), "offline", OFFLINE)

    @pytest.mark.parametrize("turn", [lambda names: names, reversed])
    def test_one_does_without_what_another_follows_whichever_is_first(self, turn: Callable) -> None:
        shared = SharedSettings(["offline", "streaming"])
        offers = {"offline": (OFFLINE, ALL), "streaming": (STREAMING, [])}
        for name in turn(list(offers)):
            offer, without = offers[name]
            assert load(shared, name, offer) == without

    def test_a_setting_that_no_model_at_start_follows_is_refused(self) -> None:
        shared = SharedSettings(["offline", "streaming", "offline"])
        wanted = Wanted(chunk_frames=5, decoder=CTC)
        assert load(shared, "offline", OFFLINE, wanted) == ["chunk_frames"]
        with pytest.raises(ValueError, match=r"offline is not .*; streaming was not .* or 14"):
            load(shared, "streaming", STREAMING, wanted)

    def test_each_setting_needs_a_model_of_its_own_only(self) -> None:
        """One model follows the look-ahead, the other the decoder: nobody is refused."""
        shared = SharedSettings(["offline", "streaming"])
        wanted = Wanted(14, TDT)
        assert load(shared, "offline", OFFLINE, wanted) == ["chunk_frames"]
        assert load(shared, "streaming", STREAMING, wanted) == ["decoder"]

    def test_a_model_that_comes_later_does_without(self) -> None:
        shared = SharedSettings(["streaming"])
        assert load(shared, "streaming", STREAMING) == []
        assert load(shared, "offline", OFFLINE) == ALL

    def test_another_checkpoint_under_a_name_of_the_start_does_without(self) -> None:
        shared = SharedSettings(["a", "b"])
        assert load(shared, "a", STREAMING) == []
        assert load(shared, "b", OFFLINE) == ALL
        assert load(shared, "a", OFFLINE) == ALL
