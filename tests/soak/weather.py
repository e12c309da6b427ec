"""What goes wrong for all gates at once: the API server, the watches, Chaos Mesh, and whoever is killed."""

import random
from typing import TYPE_CHECKING

import anyio

from chaosplugin.sandbox.api import errors
from chaosplugin.sandbox.api.faults import Where, where
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS
from tests.soak.bed import Bed
from tests.walk.bed import PLUGIN_USER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RESYNC_S = 3.0
"""As Argo's resync, which is what wakes a gate whose plugin has died; there every 15 minutes."""
_RECOVERY_S = 4.0
"""Until somebody who was blind, or was begun anew, has seen all again; retries wait up to 4 s."""
_FAIR_S = (5.0, 15.0)
_FOUL_S = (10.0, 20.0)


class Weather:
    """Fair and foul in turns. Killing is a part of it until `stop_killing`."""

    def __init__(self, bed: Bed, seed: int) -> None:
        self._bed = bed
        self._dice = random.Random(f"{seed}/weather")  # noqa: S311 - nothing to guard
        self.killing = True
        self.happened: dict[str, int] = {}

    async def run(self) -> None:
        """Go on until cancelled."""
        await anyio.sleep(self._dice.uniform(2.0, 4.0))
        while True:
            with anyio.move_on_after(self._dice.uniform(*_FOUL_S)):
                while True:
                    await self._one()
                    await anyio.sleep(self._dice.expovariate(1.5))
            await anyio.sleep(self._dice.uniform(*_FAIR_S))

    async def _one(self) -> None:
        """One of them, in a scope that the end of foul weather does not cut."""
        sorts: list[Callable[[], Awaitable[None]]] = [
            self._storm,
            self._storm,
            self._slow,
            self._lost_answers,
            self._cut,
            self._freeze,
            self._expire,
            self._chaos_mesh_stops,
        ]
        if self.killing:
            sorts += [self._kill_plugin, self._kill_plugin, self._kill_controller, self._two_controllers]
        sort = self._dice.choice(sorts)
        name = sort.__name__.strip("_").replace("_", " ")
        self.happened[name] = self.happened.get(name, 0) + 1
        with anyio.CancelScope(shield=True):
            await sort()

    async def resync(self) -> None:
        """Touch every AnalysisRun now and then."""
        count = 0
        while True:
            await anyio.sleep(RESYNC_S)
            count += 1
            change = {"metadata": {"annotations": {"touched": str(count)}}}
            for run in self._bed.cluster.api.list(ANALYSIS_RUNS):
                if (run.object.get("status") or {}).get("phase", "Running") == "Running":
                    self._bed.cluster.api.merge(ANALYSIS_RUNS, run.namespace, run.name, change)

    # -- the API server

    def _plugins(self, verb: str = "", resource: str = "") -> Where:
        return where(verb, resource, user=PLUGIN_USER)

    async def _storm(self) -> None:
        """Refuse what comes."""
        error = self._dice.choice(
            (
                errors.internal("etcdserver: request timed out"),
                errors.too_many_requests(1),
                errors.ApiError(503, "ServiceUnavailable", "the server is currently unable to handle it"),
            )
        )
        faults = self._bed.cluster.faults
        if self._dice.random() < 0.3:
            fault = faults.answer(502, "<html>Bad Gateway</html>", self._plugins(), self._dice.randint(1, 20))
        else:
            fault = faults.refuse(error, self._plugins(), self._dice.randint(1, 40))
        began = self._bed.history.now()
        with anyio.move_on_after(self._dice.uniform(0.5, 3.0)):
            while fault.left:
                await anyio.sleep(0.05)
        fault.cancel()
        self._note(began, "storm")

    async def _slow(self) -> None:
        began = self._bed.history.now()
        seconds = self._dice.uniform(0.1, 2.0)
        fault = self._bed.cluster.faults.delay(seconds, self._plugins(), self._dice.randint(1, 10))
        await anyio.sleep(1.0)
        fault.cancel()
        await anyio.sleep(seconds)
        self._note(began, "slow")

    async def _lost_answers(self) -> None:
        resources = " ".join(("podchaos", "networkchaos", "stresschaos", "analysisruns"))
        began = self._bed.history.now()
        verb = self._dice.choice(("create", "patch", "delete", "create patch delete"))
        fault = self._bed.cluster.faults.lose_answer(self._plugins(verb, resources), self._dice.randint(1, 3))
        await anyio.sleep(2.0)
        fault.cancel()
        self._note(began, "lost answer")

    async def _cut(self) -> None:
        began = self._bed.history.now()
        resource = self._dice.choice(("", "pods", "analysisruns", "podchaos"))
        self._bed.cluster.faults.cut_watches(resource)
        self._note(began, "watches cut")

    async def _freeze(self) -> None:
        began = self._bed.history.now()
        thaw = self._bed.cluster.faults.freeze_watches(self._dice.choice(("", "pods", "podchaos")))
        await anyio.sleep(self._dice.uniform(0.2, 3.0))
        thaw()
        self._note(began, "watches frozen")

    async def _expire(self) -> None:
        began = self._bed.history.now()
        self._bed.cluster.faults.expire()
        self._note(began, "watches expired")

    async def _chaos_mesh_stops(self) -> None:
        began = self._bed.history.now()
        self._bed.cluster.chaos.stop()
        await anyio.sleep(self._dice.uniform(0.2, 3.0))
        self._bed.cluster.chaos.start()
        self._note(began, "Chaos Mesh stopped")

    # -- who is killed

    async def _kill_plugin(self) -> None:
        began = self._bed.history.now()
        victim = self._dice.choice(self._bed.controllers)
        if victim.kill_plugin():
            await self._until_plugins()
        self._note(began, "plugin killed", RESYNC_S)

    async def _kill_controller(self) -> None:
        """Its successor begins at once, while the dead one's plugin finds out."""
        began = self._bed.history.now()
        await self._bed.kill(self._dice.choice(self._bed.controllers))
        await self._bed.begin()
        await self._until_plugins()
        self._note(began, "controller killed", RESYNC_S)

    async def _two_controllers(self) -> None:
        """Leadership goes over badly: for a while there are two, then the old one ends."""
        began = self._bed.history.now()
        old = self._bed.controllers[0]
        await self._bed.begin()
        await self._until_plugins()
        await anyio.sleep(self._dice.uniform(0.0, 4.0))
        await self._bed.end(old)
        self._note(began, "two controllers, one killed", RESYNC_S)

    async def _until_plugins(self) -> None:
        """Wait until each controller has its plugin, which it starts at its first call."""
        with anyio.move_on_after(10):
            while not all(each.plugin for each in self._bed.controllers):
                await anyio.sleep(0.1)

    def _note(self, began: float, what: str, more: float = 0.0) -> None:
        self._bed.history.trouble(began, self._bed.history.now() + _RECOVERY_S + more, what)
