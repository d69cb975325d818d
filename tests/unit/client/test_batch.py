"""Which errors of one recording end the work on the others, and which are waited out."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import grpc
import pytest

from siren_client import FieldViolation, Reason, SirenError
from siren_client.cli import batch
from siren_client.cli.audio_file import AudioFile
from siren_client.cli.batch import Batch, Finished, Waiting, _is_same_for_all, _wait_s
from siren_client.cli.inputs import InputError, find_inputs


@pytest.mark.parametrize(
    ("fields", "is_same"),
    [
        (("config.chunk_frames",), True),
        (("config.channel_count",), False),
        (("config.sample_rate_hertz", "config.channel"), False),
        (("config.channel", "config.model"), True),
        ((), True),
    ],
)
def test_what_a_file_is_concerns_that_file_alone(fields: tuple[str, ...], is_same: bool) -> None:
    error = SirenError(
        grpc.StatusCode.INVALID_ARGUMENT,
        "not taken",
        reason=Reason.INVALID_CONFIG,
        violations=tuple(FieldViolation(field, "not taken") for field in fields),
    )
    assert _is_same_for_all(error) is is_same


def test_a_name_the_system_cannot_have_is_wrong_usage() -> None:
    with pytest.raises(InputError, match="too long"):
        find_inputs(["x" * 5000], recursive=False)


def test_a_pattern_that_matches_only_folders_matches_no_file(tmp_path) -> None:
    (tmp_path / "talks").mkdir()
    with pytest.raises(InputError, match=r"ta\*: no file matches \(a folder does"):
        find_inputs([str(tmp_path / "ta*")], recursive=False)


class FullClient:
    """Refuses so many streams, then recognises nothing in one."""

    def __init__(self, n_refusals: int, *, retry_after_s: float | None) -> None:
        self.n_refusals = n_refusals
        self._retry_after_s = retry_after_s

    def stream(self, audio, **options):
        if self.n_refusals == 0:
            return nullcontext(iter(()))
        self.n_refusals -= 1
        raise SirenError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "no session is free",
            reason=Reason.OVERLOADED,
            retry_after_s=self._retry_after_s,
        )


def updates_of(client: FullClient) -> list[object]:
    recording = AudioFile(Path("talk.wav"), 16000, 1, 1.0)
    return list(Batch(client, [recording], lambda _: [], {}, parallel=1).updates())


def test_a_server_that_is_full_is_waited_for_however_long(monkeypatch) -> None:
    monkeypatch.setattr(batch, "_LONGEST_WAIT_S", 0.0)
    client = FullClient(100, retry_after_s=1e-6)
    assert updates_of(client) == [Waiting(0)] * 100 + [Finished(0, None)]


def test_one_that_does_not_say_that_it_will_have_room_is_not(monkeypatch) -> None:
    monkeypatch.setattr(batch, "_LONGEST_WAIT_S", 0.0)
    monkeypatch.setattr(batch, "_RETRY_S", 1e-6)
    *_, last = updates_of(FullClient(100, retry_after_s=None))
    assert isinstance(last, Finished)
    assert last.error is not None


def test_waits_grow_up_to_a_bound_which_the_server_may_raise() -> None:
    assert [_wait_s(2.0, attempt) for attempt in (1, 2, 3, 5, 1000)] == [2.0, 3.0, 4.5, 10.0, 10.0]
    assert _wait_s(60.0, 3) == 60.0
    assert _wait_s(None, 1) == 1.0
