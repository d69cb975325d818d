"""Other readings of an utterance: NeMo's own beam search over the same encoder frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from siren_grpc.domain.model import DecoderKind, Lane
from siren_grpc.domain.readings import FrameSpan
from siren_grpc.domain.step import StepRow
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.loader import EMBEDDED_MODEL, checkpoint_path, load
from siren_grpc.models.readings import SlotFrames
from tests.parity.conftest import Pair
from tests.parity.siren_path import works_of
from tests.support import sounds
from tests.support.audio import spoken_digits
from tests.support.nemo_reference import NemoReference

pytestmark = pytest.mark.parity

RNNT, CTC, TDT = DecoderKind.RNNT, DecoderKind.CTC, DecoderKind.TDT
CASES = [("nemotron", RNNT), ("hybrid", RNNT), ("hybrid", CTC), ("ctc", CTC), ("tdt", TDT)]
SPEECH = sounds.babble(16_000 * 3 + 77, seed=11)
ALL = FrameSpan(1, 0, None)  # the state of a slot that was reset once


def heard(backend: LoadedBackend, samples: object, lane: Lane) -> None:
    backend.readings.clear(0)
    backend.reset_slot(0)
    for work in works_of(samples, backend.info, lane.chunk_frames):  # type: ignore[arg-type]
        backend.step(lane, [StepRow(0, work, keeps_frames=True)])


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_readings_are_nemos_beam_over_the_whole_utterance(
    pair_of: Callable[..., Pair], name: str, kind: DecoderKind
) -> None:
    pair = pair_of(name)
    heard(pair.siren, SPEECH, Lane(7, kind))
    frames = pair.siren.readings.take(0, ALL)
    encoded = pair.nemo.encode(SPEECH, (70, 6))
    assert frames is not None
    torch.testing.assert_close(frames, encoded, atol=1e-4, rtol=1e-3)
    ours = pair.siren.readings.search(kind, frames, 3)
    nemos = pair.nemo.decode_best(frames, kind.value, beam=4)
    nemos.sort(key=lambda found: -found[1])
    assert [reading.tokens for reading in ours] == [tokens for tokens, _ in nemos]
    assert [reading.log_prob for reading in ours] == pytest.approx([score for _, score in nemos])
    assert len({reading.tokens for reading in ours}) > 1


@pytest.mark.parametrize("kind", [RNNT, CTC])
def test_the_best_reading_of_digits_is_what_was_said(kind: DecoderKind) -> None:
    """Else a beam that is worse than the greedy decoder would pass."""
    backend = load(EMBEDDED_MODEL, device="cpu", n_slots=1, max_batch=1)
    path = checkpoint_path(EMBEDDED_MODEL)
    assert path is not None
    tokenizer = NemoReference(path).model.tokenizer
    right = 0
    recordings = [r for r in spoken_digits() if r.sample_rate_hertz == 16_000]
    for recording in recordings:
        heard(backend, recording.samples.astype("float32") / 32768, Lane(7, kind))
        frames = backend.readings.take(0, ALL)
        best, *others = backend.readings.search(kind, frames, 4)
        right += tokenizer.ids_to_text(list(best.tokens)) == recording.reference
        assert others
        assert all(other.log_prob <= best.log_prob for other in others)
    assert right >= len(recordings) - 1


class TestSlotFrames:
    def frames(self, first: int, n: int) -> torch.Tensor:
        return torch.arange(first, first + n, dtype=torch.float32)[:, None]

    def test_spans_are_counted_from_the_state_they_are_of(self) -> None:
        kept = SlotFrames(2)
        kept.push(1, self.frames(0, 4))
        kept.push(1, self.frames(4, 7))
        kept.restart(1)
        kept.push(1, self.frames(100, 3))
        span = kept.take(1, FrameSpan(0, 2, 5))
        assert span is not None
        assert span[:, 0].tolist() == [2, 3, 4]
        rest = kept.take(1, FrameSpan(0, 5, None))
        assert rest is not None
        assert rest[:, 0].tolist() == [5, 6, 7, 8, 9, 10]
        after = kept.take(1, FrameSpan(1, 0, None))
        assert after is not None
        assert after[:, 0].tolist() == [100, 101, 102]
        assert kept.take(0, FrameSpan(0, 0, None)) is None

    def test_what_was_taken_or_dropped_is_none(self) -> None:
        kept = SlotFrames(1)
        kept.push(0, self.frames(0, 4))
        assert kept.take(0, FrameSpan(0, 0, None)) is not None
        assert kept.take(0, FrameSpan(0, 0, None)) is None
        for first in range(0, 1000, 10):
            kept.push(0, self.frames(first, 10))
        assert kept.take(0, FrameSpan(0, 4, 300)) is None
        late = kept.take(0, FrameSpan(0, 300, None))
        assert late is not None
        assert len(late) == 4 + 1000 - 300

    def test_a_new_tenant_finds_nothing(self) -> None:
        kept = SlotFrames(1)
        kept.push(0, self.frames(0, 4))
        kept.clear(0)
        assert kept.take(0, FrameSpan(0, 0, None)) is None
        kept.push(0, self.frames(50, 1))
        again = kept.take(0, FrameSpan(0, 0, None))
        assert again is not None
        assert again.tolist() == [[50.0]]
