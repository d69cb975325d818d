"""Voice activity beside recognition: Silero's detector, batched over sessions and windows.

Silero VAD (snakers4/silero-vad, MIT) hears windows of 32 ms, each with the 4 ms before it. Its
convolutions know nothing of other windows, so those of all rows run at once; only its LSTM cell
goes from window to window. Its own streaming wrapper takes one window a call, and forgets its
state when the batch changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import distribution

import numpy as np
import torch

from siren_grpc.domain.model import Lane, ModelInfo, ModelOptions
from siren_grpc.domain.ports import PhraseTrees, Readings
from siren_grpc.domain.step import StepResult, StepRow
from siren_grpc.domain.work import Chunk, Voice
from siren_grpc.models.backend import LoadedBackend
from siren_grpc.models.memory import telling_out_of_memory

VOICE_HERTZ = 16_000
_WINDOW = 512
_CONTEXT = 64
_HIDDEN = 128


class VoiceDetector:
    """The detector's state of each slot: what it remembers, and audio short of a window."""

    def __init__(self, *, n_slots: int, device: torch.device) -> None:
        """Load the detector that the `silero-vad` package ships, for so many slots."""
        # Importing the package would set torch's number of threads for the whole process.
        path = distribution("silero-vad").locate_file("silero_vad/data/silero_vad.jit")
        self._net = torch.jit.load(str(path), map_location=device)._model.eval()
        self._device = device
        self._state = torch.zeros(2, n_slots, _HIDDEN, device=device)
        self._tail = np.zeros((n_slots, _CONTEXT + _WINDOW), np.float32)
        self._pending = np.zeros(n_slots, np.int64)
        with torch.inference_mode():
            for _ in range(3):  # TorchScript compiles at its first calls
                nothing = np.zeros((1, _CONTEXT + 3 * _WINDOW), np.float32)
                one = np.zeros(1, np.int64)
                self._probabilities(nothing, one, one == 0, one + 2, 2)

    @property
    def bytes_per_slot(self) -> int:
        """Memory of one session's state."""
        return int(self._state[:, 0].nbytes + self._tail[0].nbytes + self._pending[0].nbytes)

    def hear(
        self, rows: Sequence[StepRow], n_rows: int
    ) -> tuple[Callable[[], list[tuple[float, ...]]], Callable[[], None]]:
        """Find each row's probability of speech in every window its chunk completes.

        rows: whole chunks whose `voice` is on. n_rows: what they are padded to, so that a
        session's mates do not matter. Returns how to read the probabilities, which waits for the
        device, and how to keep the state, once the step succeeded.
        """
        slots = np.array([row.slot for row in rows])
        is_fresh = np.array([_voice_of(row) is Voice.FRESH for row in rows])
        pending = np.where(is_fresh, 0, self._pending[slots])
        samples = [row.work.samples for row in rows]
        totals = pending + np.array([len(some) for some in samples])
        n_windows = totals // _WINDOW
        most = int(n_windows.max())
        wave = np.zeros((n_rows, _CONTEXT + (most + 1) * _WINDOW), np.float32)
        for i, some in enumerate(samples):
            held = _CONTEXT + pending[i]
            if not is_fresh[i]:
                wave[i, :held] = self._tail[slots[i], :held]
            wave[i, held : held + len(some)] = some
        probabilities, states = self._probabilities(wave, slots, is_fresh, n_windows, most)

        def keep() -> None:
            for i, slot in enumerate(slots):
                start = n_windows[i] * _WINDOW
                left = totals[i] - start
                self._tail[slot, : _CONTEXT + left] = wave[i, start : start + _CONTEXT + left]
                self._pending[slot] = left
            self._state[:, torch.from_numpy(slots)] = states

        def read() -> list[tuple[float, ...]]:
            found = probabilities.cpu()
            return [tuple(found[i, :n].tolist()) for i, n in enumerate(n_windows)]

        return read, keep

    def _probabilities(
        self,
        wave: np.ndarray,
        slots: np.ndarray,
        is_fresh: np.ndarray,
        n_windows: np.ndarray,
        most: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities [n_rows, most], and the states [2, len(slots), hidden] behind them.

        Behind a row's own windows its probabilities mean nothing, and its state stands still.
        """
        n_rows = len(wave)
        state = torch.zeros(2, n_rows, _HIDDEN, device=self._device)
        state[:, : len(slots)] = self._state[:, torch.from_numpy(slots)]
        state[:, : len(slots)][:, torch.from_numpy(is_fresh)] = 0
        if most == 0:
            return torch.zeros(n_rows, 0), state[:, : len(slots)]
        sound = torch.from_numpy(wave).to(self._device)
        windows = sound.unfold(1, _CONTEXT + _WINDOW, _WINDOW)[:, :most]
        net = self._net
        encoded = net.encoder(net.run_extractors(windows.reshape(n_rows * most, -1)))
        encoded = encoded.reshape(n_rows, most, *encoded.shape[1:])
        own = torch.zeros(n_rows, dtype=torch.int64)
        own[: len(slots)] = torch.from_numpy(n_windows)
        own = own.to(self._device)
        found = []
        for at in range(most):
            out, new = net.decoder(encoded[:, at], state)
            found.append(out.reshape(n_rows, -1).mean(dim=1))
            state = torch.where((at < own)[None, :, None], new, state)
        return torch.stack(found, dim=1), state[:, : len(slots)]


class ListeningBackend:
    """A backend that also hears who speaks, for the sessions that want it."""

    def __init__(self, backend: LoadedBackend, detector: VoiceDetector) -> None:
        """Hear beside the backend's own recognition; the rest is the backend's."""
        self._backend = backend
        self._detector = detector
        self._info = replace(backend.info, hears_voice=True)

    @property
    def info(self) -> ModelInfo:
        """What the model is and offers."""
        return self._info

    @property
    def n_slots(self) -> int:
        """How many sessions it holds at once."""
        return self._backend.n_slots

    @property
    def bytes_per_slot(self) -> int:
        """Memory that one session's state takes."""
        return self._backend.bytes_per_slot + self._detector.bytes_per_slot

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes, ascending, to one of which a step pads its rows; the last is the most."""
        return self._backend.batch_sizes

    @batch_sizes.setter
    def batch_sizes(self, sizes: tuple[int, ...]) -> None:
        self._backend.batch_sizes = sizes

    @property
    def n_parallel(self) -> int:
        """How many steps at once are worth it on its device."""
        return self._backend.n_parallel

    @n_parallel.setter
    def n_parallel(self, count: int) -> None:
        self._backend.n_parallel = count

    @property
    def step_seconds(self) -> Mapping[Lane, Mapping[int, float]]:
        """What steps take alone."""
        return self._backend.step_seconds

    @step_seconds.setter
    def step_seconds(self, seconds: Mapping[Lane, Mapping[int, float]]) -> None:
        self._backend.step_seconds = seconds

    @property
    def threads(self) -> int | None:
        """CPU threads of a step; None for torch's own choice."""
        return self._backend.threads

    @threads.setter
    def threads(self, count: int | None) -> None:
        self._backend.threads = count

    @property
    def is_on_gpu(self) -> bool:
        """Whether it steps on a GPU."""
        return self._backend.is_on_gpu

    def open_slot(self, slot: int, options: ModelOptions) -> None:
        """Give the slot to a new stream; the detector asks for no language."""
        self._backend.open_slot(slot, options)

    @property
    def phrase_trees(self) -> PhraseTrees | None:
        """What makes its slots prefer phrases."""
        return self._backend.phrase_trees

    @property
    def readings(self) -> Readings | None:
        """What reads its slots' utterances again."""
        return self._backend.readings

    def reset_slot(self, slot: int) -> None:
        """Make the slot's state that of a stream that has heard nothing."""
        self._backend.reset_slot(slot)  # the detector starts afresh with the first chunk

    def step(self, lane: Lane, rows: Sequence[StepRow]) -> list[StepResult]:
        """Recognise every row's audio, and say in which windows somebody speaks."""
        hearing = [i for i, row in enumerate(rows) if _voice_of(row) is not Voice.OFF]
        if not hearing:
            return self._backend.step(lane, rows)
        with torch.inference_mode():
            n_rows = next(size for size in self.batch_sizes if size >= len(hearing))
            with telling_out_of_memory():
                read, keep = self._detector.hear([rows[i] for i in hearing], n_rows)
            # Waits for the device, for what was begun before it, too.
            results = self._backend.step(lane, rows)
            speech = read()
            keep()
        for i, heard in zip(hearing, speech, strict=True):
            results[i] = replace(results[i], speech=heard)
        return results


def _voice_of(row: StepRow) -> Voice:
    return row.work.voice if isinstance(row.work, Chunk) else Voice.OFF
