"""The models of a device, and which session has which of their slots."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

from siren_grpc.domain.errors import ModelNotFound, SirenError
from siren_grpc.domain.model import DecoderKind, Lane, ModelInfo
from siren_grpc.domain.ports import ModelBackend, OutOfMemory
from siren_grpc.domain.results import WordDetail
from siren_grpc.domain.work import Chunk
from siren_grpc.engine.doorkeeper import Doorkeeper, Newcomer
from siren_grpc.engine.messages import Open, front_end_of
from siren_grpc.engine.phrases import PhraseStore
from siren_grpc.engine.step_tally import ModelLoad
from siren_grpc.scheduling.admission import no_memory
from siren_grpc.scheduling.load import LaneWork
from siren_grpc.scheduling.plan import LaneLimits, SessionId
from siren_grpc.scheduling.slots import SlotTable

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ServedModel:
    """A model, its slots, and the phrases of those who have them; None if it takes none."""

    backend: ModelBackend
    slots: SlotTable
    batch_sizes: tuple[int, ...]
    phrases: PhraseStore | None
    on_freed: Callable[[], None] | None = None
    """Called when the last of its sessions has ended; None while the model is in service."""

    @property
    def info(self) -> ModelInfo:
        """What the model is and offers."""
        return self.backend.info

    @property
    def limits(self) -> LaneLimits:
        """What its lanes are planned with."""
        return LaneLimits(self.info.features.sample_rate_hertz, self.batch_sizes)

    @property
    def phrase_store(self) -> PhraseStore:
        """Its phrases, where a session has some: others are refused before."""
        if self.phrases is None:
            raise AssertionError(f"{self.info.id} takes no phrases; they are refused before")
        return self.phrases


@dataclass(frozen=True, slots=True)
class ActiveSession:
    """A session that has a slot. The rest as in `Open`."""

    model: ServedModel
    slot: int
    words: WordDetail
    decoder: DecoderKind
    alternatives: int
    traceparent: str


class SessionTable:
    """Gives slots to sessions, or says why not. Belongs to the stepper's thread, unless said."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        """Start without models. doorkeeper: says what speaks against another session."""
        self._doorkeeper = doorkeeper
        self._models: dict[str, ServedModel] = {}
        self._sessions: dict[SessionId, ActiveSession] = {}

    def __getitem__(self, session_id: SessionId) -> ActiveSession:
        return self._sessions[session_id]

    def get(self, session_id: SessionId) -> ActiveSession | None:
        """Return a session, None if it has no slot any more."""
        return self._sessions.get(session_id)

    def of_front_end(self, front_end: int) -> list[SessionId]:
        """Return the sessions of a front end."""
        return [
            session_id for session_id in self._sessions if front_end_of(session_id) == front_end
        ]

    def model(self, lane: Lane) -> ServedModel:
        """Return the model of a lane that has sessions."""
        return self._models[lane.model]

    def add_model(self, name: str, backend: ModelBackend, phrases: PhraseStore | None) -> None:
        """Take a model into service; lanes call it by a name that was never used before."""
        slots = SlotTable(backend.n_slots)
        self._models[name] = ServedModel(backend, slots, backend.batch_sizes, phrases)
        for lane, alone_s in backend.step_seconds.items():
            self._doorkeeper.expect(self.work_of(replace(lane, model=name)), alone_s)

    def retire_model(self, name: str, on_freed: Callable[[], None]) -> None:
        """Take a model out of service. on_freed: called when its last session has been released."""
        self._models[name].on_freed = on_freed
        self._free_if_retired(name)

    def admit(self, message: Open, n_live: Mapping[Lane, int], *, n_workers: int) -> ActiveSession:
        """Give a session a slot. n_live, n_workers: as in `Newcomer`.

        Raises the SirenError it is refused with.
        """
        now = monotonic()
        name = message.lane.model
        model = self._models.get(name)
        if model is None or model.on_freed is not None:
            raise ModelNotFound(f"model {name} has just been taken out of service")
        newcomer = _newcomer(model, message, n_live, n_workers=n_workers)
        refusal = self._doorkeeper.admit(newcomer, now)
        if refusal is not None:
            raise refusal
        slot = model.slots.acquire()
        try:
            model.backend.open_slot(slot, message.options)
        except SirenError:
            model.slots.release(slot)
            raise
        except OutOfMemory as error:
            model.slots.release(slot)  # whoever has it next opens it anew
            _log.error("session %d: no memory to open it", message.session_id, exc_info=error)
            self._doorkeeper.note_no_memory(now)
            raise no_memory() from error
        session = ActiveSession(
            model,
            slot,
            message.words,
            message.lane.decoder,
            message.alternatives,
            message.traceparent,
        )
        self._sessions[message.session_id] = session
        self._doorkeeper.enter(message.session_id, message.caller, now)
        return session

    def release(self, session_id: SessionId) -> None:
        """Take a session's slot back; harmless for one that has none."""
        session = self._sessions.pop(session_id, None)
        if session is None:
            return
        self._doorkeeper.leave(session_id)
        model = session.model
        if model.phrases is not None:
            model.phrases.close(session_id)
        if session.alternatives and model.backend.readings is not None:
            model.backend.readings.clear(session.slot)
        model.slots.release(session.slot)
        if model.on_freed is not None:
            self._free_if_retired(next(n for n, served in self._models.items() if served is model))

    def charge(self, session_id: SessionId, chunk: Chunk) -> SirenError | None:
        """Count audio against the session's quota; return what it is to end with, if any."""
        if not self._doorkeeper.counts(session_id) or (session := self.get(session_id)) is None:
            return None
        hertz = session.model.info.features.sample_rate_hertz
        return self._doorkeeper.charge(session_id, chunk.end_samples, hertz, monotonic())

    def work_of(self, lane: Lane) -> LaneWork:
        """Return what a session of a lane has to be stepped for."""
        return _work_of(self._models[lane.model], lane)

    def quick_refusal(
        self, message: Open, n_live: Mapping[Lane, int], *, n_workers: int, n_leaving: int
    ) -> SirenError | None:
        """Return what a session is refused with, if no session that leaves can change that.

        n_live, n_workers, n_leaving: as in `Newcomer`. From any thread. None leaves it to `admit`.
        """
        model = self._models.get(message.lane.model)
        if model is None or model.on_freed is not None:
            return None
        newcomer = _newcomer(model, message, n_live, n_workers=n_workers, n_leaving=n_leaving)
        return self._doorkeeper.refusal(newcomer, monotonic())

    @property
    def loads(self) -> dict[str, ModelLoad]:
        """Sessions and slots by the id of their model; from any thread."""
        loads: dict[str, ModelLoad] = {}
        for model in list(self._models.values()):
            n_active = model.slots.n_taken
            if n_active == 0 and model.on_freed is not None:
                continue  # about to go
            # An older one of the same id, which running streams end on, takes no new ones.
            older = loads.get(model.info.id, ModelLoad(0, 0))
            loads[model.info.id] = ModelLoad(n_active + older.n_active, model.slots.n_slots)
        return loads

    @property
    def counts(self) -> dict[str, int]:
        """Sessions and their slots; from any thread."""
        models = list(self._models.values())
        n_taken = sum(model.slots.n_taken for model in models)
        return {"sessions": len(self._sessions), "slots": n_taken}

    def _free_if_retired(self, name: str) -> None:
        model = self._models[name]
        if model.on_freed is not None and model.slots.n_taken == 0:
            del self._models[name]
            self._doorkeeper.forget(name)
            model.on_freed()


def _work_of(model: ServedModel, lane: Lane) -> LaneWork:
    chunk_samples = model.info.geometry(lane.chunk_frames).chunk_samples(is_first=False)
    chunk_s = chunk_samples / model.info.features.sample_rate_hertz
    return LaneWork(lane, chunk_s, model.batch_sizes)


def _newcomer(
    model: ServedModel,
    message: Open,
    n_live: Mapping[Lane, int],
    *,
    n_workers: int,
    n_leaving: int = 0,
) -> Newcomer:
    return Newcomer(
        caller=message.caller,
        is_live=message.is_live,
        work=_work_of(model, message.lane),
        model=model.info.id,
        n_slots=model.slots.n_slots,
        n_free=model.slots.n_free,
        n_live=n_live,
        n_workers=n_workers,
        n_leaving=n_leaving,
    )
