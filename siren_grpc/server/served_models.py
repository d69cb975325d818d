"""Which models a server has, and how one gives way to another while both are served."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from siren_grpc.domain.model import ModelInfo
from siren_grpc.domain.ports import ModelBackend
from siren_grpc.engine.host import EngineHost
from siren_grpc.server.front_end import Catalog
from siren_grpc.server.front_ends import FrontEnds
from siren_grpc.server.names import ModelNames

_log = logging.getLogger(__name__)
_HANDOVER_S = 1.0
"""How long a model still takes sessions that front ends open who do not know yet that it goes."""


@dataclass(frozen=True, slots=True)
class Models:
    """Which models to serve: names as `siren serve --model` takes them, the default first."""

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    """A name of `names` by alias."""
    versions: Mapping[str, Hashable] = field(default_factory=dict)
    """What changes when there is another model behind a name; None where that cannot be known."""


@dataclass(frozen=True, slots=True)
class _Served:
    info: ModelInfo
    version: Hashable


class ServedModels:
    """Loads and lets go of models until those served are those wanted. For one event loop."""

    def __init__(self, load_backend: Callable[[str], ModelBackend]) -> None:
        """Start without a model.

        load_backend: loads and warms up a model by name; called in a thread of its own.
        """
        self._load_backend = load_backend
        self._is_loading = False
        self._served: dict[str, _Served] = {}
        """The models in service, by name."""
        self._n_loaded: Counter[str] = Counter()
        """Of each id."""
        self._retiring: set[asyncio.Task[None]] = set()
        self._leaving: set[str] = set()
        """Keys of the models that these retire, before or while they do."""

    @property
    def is_loading(self) -> bool:
        """Whether the thread that loads a model runs, even after `update` was cancelled."""
        return self._is_loading

    @property
    def ids(self) -> tuple[str, ...]:
        """Of the models in service, the default first."""
        return tuple(served.info.id for served in self._served.values())

    async def update(self, wanted: Models, front_ends: FrontEnds, host: EngineHost) -> None:
        """Serve these models, and no others.

        Raises ValueError for an alias of none of them, and what load_backend raises; what was
        served before is served on then.
        """
        unknown = set(wanted.aliases.values()) - set(wanted.names)
        if unknown:
            raise ValueError(
                f"aliases of models that are not served: {', '.join(sorted(unknown))}; an alias "
                f"names one as model or models do: {', '.join(wanted.names)}"
            )
        now_served, loaded = {}, []
        try:
            for name in dict.fromkeys(wanted.names):
                served, version = self._served.get(name), wanted.versions.get(name)
                if served is None or served.version != version:
                    served = await self._load(name, version, served, host)
                    loaded.append(served)
                now_served[name] = served
        except BaseException:
            self._retire(loaded, host)
            raise
        going = [served for served in self._served.values() if served not in now_served.values()]
        self._served = now_served
        for served in going:
            _log.info("model %s goes when its last stream has ended", served.info.key)
        ids = {name: served.info.id for name, served in now_served.items()}
        aliases = {alias: ids[name] for alias, name in wanted.aliases.items()}
        infos = tuple(served.info for served in now_served.values())
        catalog = Catalog(infos, ModelNames(ids[wanted.names[0]], aliases))
        await front_ends.serve(catalog)
        self._retire(going, host)

    def _retire(self, going: Sequence[_Served], host: EngineHost) -> None:
        for served in going:
            key = served.info.key
            self._leaving.add(key)
            task = asyncio.create_task(self._let_go(host, key), name=f"retire-{key}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _let_go(self, host: EngineHost, key: str) -> None:
        try:
            await asyncio.sleep(_HANDOVER_S)
            await host.retire_model(key)
        finally:
            self._leaving.discard(key)

    async def _load(
        self, name: str, version: Hashable, replaced: _Served | None, host: EngineHost
    ) -> _Served:
        """Load a model and take it into service, beside the one that it replaces, if any."""
        backend = await self._load_in_thread(name)
        model_id = backend.info.id
        info = host.add_model(
            backend,
            generation=self._n_loaded[model_id],
            leaving={*self._leaving, *([replaced.info.key] if replaced else [])},
        )
        self._n_loaded[model_id] += 1
        _log.info("model %s is loaded", info.key)
        return _Served(info, version)

    def _load_in_thread(self, name: str) -> asyncio.Future[ModelBackend]:
        """Load in a daemon thread: it cannot be stopped, and must not keep the process alive."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[ModelBackend] = loop.create_future()

        def settle(backend: ModelBackend | None, error: Exception | None) -> None:
            if loaded.cancelled():
                return
            if backend is not None:
                loaded.set_result(backend)
            elif error is not None:
                loaded.set_exception(error)

        def load() -> None:
            backend, failure = None, None
            try:
                backend = self._load_backend(name)
            except Exception as error:
                failure = error
            self._is_loading = False
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, backend, failure)

        self._is_loading = True
        threading.Thread(target=load, name="load-model", daemon=True).start()
        return loaded
