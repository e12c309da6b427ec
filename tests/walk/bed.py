"""A sandbox, a host and the real plugin process, each of which can be ended and begun again."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, UPSTREAM_ROLE
from chaosplugin.sandbox.api.faults import Fault, Seen
from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.chaosmesh.controller import Pace
from chaosplugin.sandbox.cluster import Cluster, start
from chaosplugin.sandbox.cluster import Settings as ClusterSettings
from chaosplugin.sandbox.host import controller
from chaosplugin.sandbox.host.assessment import Rules
from chaosplugin.sandbox.host.controller import Host, Settings
from chaosplugin.sandbox.host.logs import LogRecord
from chaosplugin.sandbox.host.process import Command
from chaosplugin.sandbox.host.requests import Login
from tests.e2e.manifests import PLUGIN
from tests.sandbox.bed import until

PLUGIN_USER = "plugin"
"""A user of its own, with the same rights, so that faults can tell its requests from the host's."""
QUICK = Rules(error_retry=0.3)
FAST = Pace(write=0.001, act=0.002, child=0.01)
"""Chaos Mesh has one worker a kind: at its own pace a dozen gates at once would wait for each other."""
FOR_EVER = 1_000_000


def clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a bed stands where app does


@dataclass
class Controller:
    """A host stand-in with its plugin process; `stop` is its own end, which asks the plugin to quit."""

    host: Host
    stopping: anyio.Event = field(default_factory=anyio.Event)
    stopped: anyio.Event = field(default_factory=anyio.Event)

    @property
    def pid(self) -> int:
        live = self.host.processes.live(PLUGIN)
        assert live is not None, "the plugin was never started"
        return live.process.pid

    async def kill_plugin(self) -> None:
        """kill -9, and wait until the process is gone."""
        live = self.host.processes.live(PLUGIN)
        assert live is not None, "the plugin was never started"
        os.kill(live.process.pid, signal.SIGKILL)
        await live.process.exited.wait()

    async def stop(self) -> None:
        self.stopping.set()
        await self.stopped.wait()


class Bed:
    """One cluster, its controllers that come and go, and their log."""

    def __init__(self, cluster: Cluster, folder: Path, tasks: TaskGroup) -> None:
        self.cluster = cluster
        self.sockets = folder / "tmp"
        self.sockets.mkdir()
        self.logs: list[str] = []
        self.pids: set[int] = set()
        self._tasks = tasks
        self._kubeconfig = str(cluster.kubeconfig(PLUGIN_USER, "argo-rollouts"))

    async def begin(self, *arguments: str, rules: Rules = QUICK) -> Controller:
        """Start a host; its plugin is started when it is first wanted."""
        environment = {**os.environ, "KUBECONFIG": self._kubeconfig, "TMPDIR": str(self.sockets)}
        argv = [sys.executable, "-m", "chaosplugin", *arguments]
        login = Login(self.cluster.url, self.cluster.token(ARGO_ROLLOUTS))
        settings = Settings(login, {PLUGIN: Command(argv, environment)}, rules)
        begun: Controller = await self._tasks.start(self._control, settings)
        return begun

    async def _control(self, settings: Settings, *, task_status: anyio.abc.TaskStatus[Controller]) -> None:
        async with controller.start(settings, clock, self._write) as host:
            begun = Controller(host)
            task_status.started(begun)
            await begun.stopping.wait()
        begun.stopped.set()

    def _write(self, record: LogRecord) -> None:
        self.logs.append(f"{record.level}: {record.message} {record.fields or ''}")

    async def until(self, what: str, holds: Callable[[], object], seconds: float = 60) -> None:
        """Wait for a state of the cluster. Raises: AssertionError that names it, with the end of the log."""
        try:
            await until(self.cluster, holds, seconds)
        except TimeoutError:
            tail = "\n".join(self.logs[-30:])
            raise AssertionError(f"{what}: not in {seconds:g} s\n{tail}") from None

    def hold(self, on: Callable[[Seen], bool]) -> "Held":
        return Held(self.cluster.faults.hold(on, times=FOR_EVER))

    @property
    def socket_files(self) -> list[str]:
        return [path.name for path in self.sockets.rglob("*")]


@dataclass(frozen=True)
class Held:
    """Requests that wait for their end."""

    fault: Fault

    @property
    def hit(self) -> bool:
        return self.count > 0

    @property
    def count(self) -> int:
        """How many requests wait."""
        return FOR_EVER - self.fault.left

    def perform(self) -> None:
        """Let them through, late."""
        self._end()

    def drop(self) -> None:
        """They never arrive: whoever still listens hears that the API server is unavailable."""
        self.fault.status = 503
        self._end()

    def _end(self) -> None:
        self.fault.cancel()
        assert self.fault.wait is not None
        self.fault.wait.set()


@asynccontextmanager
async def bed(folder: Path) -> AsyncIterator[Bed]:
    folder.mkdir(exist_ok=True)
    settings = ClusterSettings(chaos=FAST)
    async with start(clock, folder, settings) as cluster, anyio.create_task_group() as tasks:
        cluster.add_user(PLUGIN_USER, (*UPSTREAM_ROLE, *PLUGIN_ROLE))
        yield Bed(cluster, folder, tasks)
        tasks.cancel_scope.cancel()


def phases(run: Object) -> list[str]:
    """Return the phases of all measurements of an AnalysisRun."""
    results = (run.get("status") or {}).get("metricResults") or ()
    return [each["phase"] for result in results for each in result.get("measurements") or ()]
