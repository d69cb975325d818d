"""What the engine's process knows of the whole server: its metrics, its load, its sessions."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from time import monotonic

from siren_grpc.domain.model import ModelInfo
from siren_grpc.engine.host import EngineHost
from siren_grpc.engine.step_tally import EngineLoad
from siren_grpc.observe import metrics
from siren_grpc.observe.device import DeviceUsage, device_metrics
from siren_grpc.observe.exposition import Exposition, MetricsServer
from siren_grpc.observe.instruments import MetricKind, Snapshot, Tally, add_up
from siren_grpc.observe.loop_lag import watch_loop_lag
from siren_grpc.observe.processes import memory_bytes, read_processes
from siren_grpc.runtime import core_time
from siren_grpc.server.bind_error import cannot_listen
from siren_grpc.server.front_end_process import FrontEndDied, FrontEndProcess
from siren_grpc.server.front_ends import FrontEnds
from siren_grpc.server.inspection_messages import Pulse, Report, ServerLoad

_log = logging.getLogger(__name__)
_PULSE_S = 1.0
_WINDOW = 6
"""Pulses whose first and last are compared for what happens by time: five seconds."""
_ANSWER_S = 2.0
_ENGINE = "engine"
_GAUGES = {metric.name for metric in metrics.ALL if metric.kind is MetricKind.GAUGE}
_NO_LOAD = ServerLoad(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class ObserveConfig:
    """Where to tell what; see the settings of the same names. A port of None: nowhere."""

    metrics_host: str
    metrics_port: int | None
    admin_host: str
    admin_port: int | None


@dataclass(frozen=True, slots=True)
class _Moment:
    at: float
    busy_s: float
    cpu_s: float
    n_calls: int
    n_errors: float


class Observer:
    """Collects what the stepper and the front ends count. Belongs to the engine's event loop."""

    def __init__(
        self,
        config: ObserveConfig,
        host: EngineHost,
        front_ends: FrontEnds,
        read_devices: Callable[[], Sequence[DeviceUsage]],
    ) -> None:
        """Prepare. read_devices: asks the GPUs; called in a thread, and may fail."""
        self._config = config
        self._host = host
        self.front_ends = front_ends
        self._read_devices = read_devices
        self._tally = Tally()
        self._reports: dict[int, Report] = {}
        """The last of each front end there is or was, by its number."""
        self._moments: deque[_Moment] = deque(maxlen=_WINDOW)
        self._tasks: list[asyncio.Task[None]] = []
        self._http: MetricsServer | None = None
        self.started_at = time.time()
        self.state = "loading"
        self.load = _NO_LOAD
        self.devices: Sequence[DeviceUsage] = ()
        self.resident_bytes = 0

    async def start(self) -> None:
        """Begin to collect, and to answer scrapes. Raises OSError when it cannot listen."""
        host, port = self._config.metrics_host, self._config.metrics_port
        if port is not None:
            sources = {"counts": self.read, "processes": self._processes, "device": self._device}
            try:
                self._http = MetricsServer(Exposition(sources), host, port)
            except OSError as error:
                raise cannot_listen(f"{host}:{port}", "metrics_port", error) from error
            _log.info("metrics on http://%s:%d/metrics", host, self._http.port)
        lag = self._tally.histogram(metrics.LOOP_LAG, _ENGINE)
        self._tasks = [
            asyncio.create_task(watch_loop_lag(lag), name="loop-lag"),
            asyncio.create_task(self._pulse(), name="pulse"),
        ]

    async def stop(self) -> None:
        """Answer no more scrapes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await asyncio.to_thread(self._http.close)

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The models in service."""
        return self._host.models

    @property
    def engine_load(self) -> EngineLoad:
        """Sessions and slots by model."""
        return self._host.load

    @property
    def numbers(self) -> Snapshot:
        """What the front ends have counted, added up."""
        return add_up([report.numbers for report in list(self._reports.values())])

    def pids(self) -> dict[str, int]:
        """Return the processes of the server, by name."""
        front_ends = {f.name: f.pid for f in self.front_ends if f.pid is not None}
        return {_ENGINE: os.getpid(), **front_ends}

    def read(self) -> Snapshot:
        """Return every number but those of processes and devices; from any thread."""
        load, models = self._host.load, self._host.models
        now: Snapshot = {
            (metrics.SERVING.name, ()): float(self.state == "serving"),
            (metrics.START_TIME.name, ()): self.started_at,
            (metrics.FRONT_ENDS.name, ()): float(len(self._reports.keys() & self._present())),
            (metrics.FRONT_END_DEATHS.name, ()): float(self.front_ends.n_deaths),
            (metrics.STEP_WORKERS.name, ()): float(load.n_workers),
            (metrics.UTILIZATION.name, ()): self.load.steps,
            (metrics.BUILD_INFO.name, versions()): 1.0,
        }
        for name, model in load.models.items():
            now[metrics.SESSIONS_ACTIVE.name, (name,)] = float(model.n_active)
            now[metrics.SESSIONS_CAPACITY.name, (name,)] = float(model.n_slots)
        for info in models:
            languages = ",".join(info.language_codes)
            hertz = str(info.features.sample_rate_hertz)
            now[metrics.MODEL_INFO.name, (info.id, info.family, languages, hertz)] = 1.0
        return add_up([now, self._tally.read(), self._host.tally.read(), self.numbers])

    def _processes(self) -> Snapshot:
        return read_processes(self.pids())

    def _device(self) -> Snapshot:
        return device_metrics(self._read_devices())

    async def _pulse(self) -> None:
        """Once a second, tell the front ends the load and take what they have counted."""
        while True:
            try:
                self.devices = await asyncio.to_thread(self._read_devices)
                self.load = self._measure(await asyncio.to_thread(self._processes))
            except Exception:
                _log.exception("the server's load cannot be measured")
            await asyncio.gather(*(self._ask(front_end) for front_end in self.front_ends))
            self._forget_dead()
            await asyncio.sleep(_PULSE_S)

    async def _ask(self, front_end: FrontEndProcess) -> None:
        try:
            report = await front_end.ask(Pulse(self.load), timeout_s=_ANSWER_S)
        except (FrontEndDied, asyncio.TimeoutError):
            return  # its last numbers stay: counters do not go back
        self._reports[front_end.number] = report

    def _present(self) -> set[int]:
        return {front_end.number for front_end in self.front_ends}

    def _forget_dead(self) -> None:
        """Keep what dead front ends have counted, and nothing of what they held."""
        for number in self._reports.keys() - self._present():
            report = self._reports[number]
            self._reports[number] = replace(report, numbers=without_gauges(report.numbers))

    def _measure(self, processes: Snapshot) -> ServerLoad:
        engine = self._host.load
        ended = self.numbers
        errors = (metrics.CALLS.name, ("OK", "CANCELLED"))
        self.resident_bytes = int(_sum_of(processes, metrics.RESIDENT_MEMORY.name))
        moment = _Moment(
            at=monotonic(),
            busy_s=engine.busy_s,
            cpu_s=_sum_of(processes, metrics.CPU_TIME.name),
            n_calls=sum(report.n_calls for report in self._reports.values()),
            n_errors=sum(
                value
                for (name, labels), value in ended.items()
                if name == errors[0] and isinstance(value, float) and labels[1] not in errors[1]
            ),
        )
        first = self._moments[0] if self._moments else moment
        self._moments.append(moment)
        seconds = max(_PULSE_S, moment.at - first.at)
        models = engine.models.values()
        return ServerLoad(
            n_active=sum(model.n_active for model in models),
            n_slots=sum(model.n_slots for model in models),
            sessions=max((model.n_active / model.n_slots for model in models), default=0.0),
            steps=_share((moment.busy_s - first.busy_s) / seconds / engine.n_workers),
            processor=_share((moment.cpu_s - first.cpu_s) / seconds / core_time()),
            memory=self._memory(processes),
            calls_per_s=max(0.0, moment.n_calls - first.n_calls) / seconds,
            errors_per_s=max(0.0, moment.n_errors - first.n_errors) / seconds,
        )

    def _memory(self, processes: Snapshot) -> float:
        if self.devices:
            return max(usage.used_bytes / usage.total_bytes for usage in self.devices)
        return _share(self.resident_bytes / memory_bytes())


def without_gauges(numbers: Snapshot) -> Snapshot:
    """Return the counters and histograms."""
    return {
        (name, labels): value for (name, labels), value in numbers.items() if name not in _GAUGES
    }


def versions() -> tuple[str, str, str, str]:
    """Return the versions of the server, Python, torch and grpcio."""
    return (
        _version("siren-grpc"),
        platform.python_version(),
        _version("torch"),
        _version("grpcio"),
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def _sum_of(numbers: Snapshot, name: str) -> float:
    return sum(v for (n, _), v in numbers.items() if n == name and isinstance(v, float))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))
