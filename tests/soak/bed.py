"""A sandbox and controllers as processes of their own, each with the real plugin."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process, TaskGroup

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, UPSTREAM_ROLE
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.cluster import Cluster, Settings, start
from chaosplugin.sandbox.namespaces import Pace
from tests.interop.leftovers import children, lives
from tests.soak.history import History
from tests.walk.bed import FAST, PLUGIN_USER, clock

_ROOT = Path(__file__).parents[2]
_END_S = 20.0
_TICK_S = 0.1
_STALL_S = 0.5
"""A machine that stands still for longer shows the plugin, too, what happens only later."""


class Controller:
    """One controller's process."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def plugin(self) -> int:
        """Return the pid of its plugin; 0 while there is none."""
        return next(iter(children(self.process.pid)), 0)

    def kill_plugin(self) -> int:
        """kill -9. Returns the pid."""
        pid = self.plugin
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let its plugin stand still, as on a machine that is frozen."""
        pid = self.plugin
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                if pid:
                    os.kill(pid, signal.SIGCONT)

    async def kill(self) -> None:
        """kill -9; its plugin has to notice by itself."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """Let it end, as on a loss of leadership."""
        if self.process.stdin is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self.process.stdin.aclose()
        with anyio.move_on_after(_END_S):
            await self.process.wait()
        if self.process.returncode is None:
            await self.kill()


class Bed:
    """The cluster, its history, and the controllers there are and have been."""

    def __init__(self, cluster: Cluster, folder: Path, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self.cluster = cluster
        self.history = History(cluster.store, lambda: clock().timestamp())
        self.folder = folder
        self.sockets = folder / "tmp"
        self.sockets.mkdir()
        self.controllers: list[Controller] = []
        self.plugins: set[int] = set()
        """every plugin's pid that was seen"""
        self._log = folder / "controllers.log"
        self._kubeconfig = str(cluster.kubeconfig(PLUGIN_USER, "argo-rollouts"))

    def later(self, seconds: float, do: Callable[[], object]) -> None:
        """Do something to the cluster after a while, unless what it is about is gone by then."""

        async def wait() -> None:
            await anyio.sleep(seconds)
            with suppress(ApiError):
                do()

        self._tasks.start_soon(wait)

    async def begin(self) -> Controller:
        with self._log.open("ab") as log:
            process = await anyio.open_process(
                [sys.executable, "-m", "tests.soak.controller"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=_ROOT,
            )
        settings = {
            "url": self.cluster.url,
            "token": self.cluster.token(ARGO_ROLLOUTS),
            "kubeconfig": self._kubeconfig,
            "folder": str(self.sockets),
            "arguments": [],
            "error_retry": 0.5,
        }
        assert process.stdin is not None
        await process.stdin.send(json.dumps(settings).encode() + b"\n")
        begun = Controller(process)
        self.controllers.append(begun)
        return begun

    async def end(self, controller: Controller) -> None:
        self.controllers.remove(controller)
        await controller.stop()

    async def kill(self, controller: Controller) -> None:
        self.controllers.remove(controller)
        await controller.kill()

    async def watch(self) -> None:
        """Note which plugins there are, and when the machine stands still."""
        before = self.history.now()
        while True:
            await anyio.sleep(_TICK_S)
            now = self.history.now()
            if now - before > _TICK_S + _STALL_S:
                self.history.trouble(before, now + 1.0, "the machine stood still")
            before = now
            self.plugins |= {pid for each in self.controllers if (pid := each.plugin)}

    async def left_behind(self, seconds: float = 15) -> list[str]:
        """Wait until no plugin lives and no socket is there; return what is."""
        with anyio.move_on_after(seconds):
            while any(map(lives, self.plugins)) or any(self.sockets.iterdir()):
                await anyio.sleep(0.1)
        left = [f"process {pid}" for pid in self.plugins if lives(pid)]
        return left + [str(path.relative_to(self.sockets)) for path in self.sockets.rglob("*")]


@asynccontextmanager
async def bed(folder: Path) -> AsyncIterator[Bed]:
    folder.mkdir(exist_ok=True)
    settings = Settings(chaos=FAST, namespaces=Pace(0.3, 0.6, 1.0, 0.5))
    async with start(clock, folder, settings) as cluster, anyio.create_task_group() as tasks:
        cluster.add_user(PLUGIN_USER, (*UPSTREAM_ROLE, *PLUGIN_ROLE))
        made = Bed(cluster, folder, tasks)
        tasks.start_soon(made.watch)
        try:
            yield made
        finally:
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                for controller in list(made.controllers):
                    await made.end(controller)
