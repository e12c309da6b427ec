"""What goes wrong for all gates at once: the API server, the watches, Chaos Mesh, and whoever is killed."""

import random
from contextlib import AbstractContextManager, nullcontext
from math import inf
from typing import TYPE_CHECKING

import anyio

from chaosplugin.sandbox.api import errors
from chaosplugin.sandbox.api.faults import Where, where
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, CHAOS_KINDS, CRDS
from tests.soak.bed import Bed
from tests.soak.plan import KIND_GONE, KINDS
from tests.walk.bed import PLUGIN_USER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    Event = Callable[[], Coroutine[None, None, None]]

RESYNC_S = 3.0
"""As Argo's resync, which is what wakes a gate whose plugin has died; there every 15 minutes."""
_RECOVERY_S = 4.0
"""Until somebody who was blind, or was begun anew, has seen all again; retries wait up to 4 s."""
_FAIR_S = (5.0, 15.0)
_LONG_FAIR_S = (25.0, 40.0)
"""So long that whole gates have nothing that excuses them."""
_SHORT = 0.65
"""The part of fair weather that is short."""
_FOUL_S = (10.0, 20.0)
_WAKES_S = 30.0
"""How long after a death a gate may still wait for its plugin to be called, and so to be begun anew."""
_FAULTS_EACH_S = 0.7
_DEATHS_EACH_S = 2.5
_GONE_S = 300.0
_SOME = 0.4
_LOST = "podchaos networkchaos stresschaos schedules workflows analysisruns"


class Weather:
    """Fair and foul in turns. Killing is a part of it until so many gates were played."""

    def __init__(self, bed: Bed, seed: int, *, kills_until: int, apart: bool = False) -> None:
        """`apart`: what befalls the API and who is killed are one thing at a time."""
        self._apart = apart
        self._bed = bed
        self._dice = random.Random(f"{seed}/weather")  # noqa: S311 - nothing to guard
        self._deaths = random.Random(f"{seed}/deaths")  # noqa: S311
        self._kills_until = kills_until
        self.played = 0
        self.happened: dict[str, int] = {}

    @property
    def killing(self) -> bool:
        return self.played < self._kills_until

    async def run(self) -> None:
        """Go on until cancelled: what befalls the API and who is killed are two things at a time, or one."""
        await anyio.sleep(self._dice.uniform(2.0, 4.0))
        while True:
            with anyio.move_on_after(self._dice.uniform(*_FOUL_S)):
                async with anyio.create_task_group() as tasks:
                    faults = self._anything if self._apart else self._faults
                    tasks.start_soon(self._befall, self._dice, faults, _FAULTS_EACH_S)
                    if not self._apart:
                        tasks.start_soon(self._befall, self._deaths, self._kill_someone, _DEATHS_EACH_S)
            await anyio.sleep(
                self._dice.uniform(*(_FAIR_S if self._dice.random() < _SHORT else _LONG_FAIR_S))
            )

    async def _befall(
        self, dice: random.Random, sorts: "Callable[[], Sequence[Event]]", each_s: float
    ) -> None:
        """Let one thing after the other happen, each to its end."""
        while True:
            if found := sorts():
                sort = dice.choice(found)
                name = sort.__name__.strip("_").replace("_", " ")
                self.happened[name] = self.happened.get(name, 0) + 1
                with anyio.CancelScope(shield=True):
                    await sort()
            await anyio.sleep(dice.expovariate(1 / each_s))

    def _faults(self) -> "Sequence[Event]":
        return (
            self._storm,
            self._storm,
            self._slow,
            self._late,
            self._lost_answers,
            self._lost_answers,
            self._cut,
            self._break,
            self._trickle,
            self._proxy,
            self._freeze,
            self._expire,
            self._expire_at_connect,
            self._restore,
            self._delete_kind,
            self._chaos_mesh_stops,
        )

    def _anything(self) -> "Sequence[Event]":
        return (*self._faults(), *self._kill_someone())

    def _kill_someone(self) -> "Sequence[Event]":
        if not self.killing:
            return ()
        return (
            self._kill_plugin,
            self._kill_plugin,
            self._kill_controller,
            self._kill_both,
            self._stop_plugin,
            self._two_controllers,
        )

    async def resync(self) -> None:
        """Touch every AnalysisRun now and then; while nobody is killed, plugins have to wake Argo."""
        count = 0
        while True:
            await anyio.sleep(RESYNC_S)
            if not self._bed.history.troubles(self._bed.history.now() - _WAKES_S, inf, "killed"):
                continue
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
        with self._noted("storm"):
            with anyio.move_on_after(self._dice.uniform(0.5, 3.0)):
                while fault.left:
                    await anyio.sleep(0.05)
            fault.cancel()

    async def _slow(self) -> None:
        with self._noted("slow"):
            seconds = self._dice.uniform(0.1, 2.0)
            fault = self._bed.cluster.faults.delay(seconds, self._plugins(), self._dice.randint(1, 10))
            await anyio.sleep(1.0)
            fault.cancel()
            await anyio.sleep(seconds)

    async def _late(self) -> None:
        """Requests are under way for long, and arrive though whoever has sent them may be dead by then."""
        with self._noted("slow requests"):
            seconds = self._dice.uniform(0.5, 6.0)
            where_ = self._plugins("create patch delete", _LOST)
            fault = self._bed.cluster.faults.deliver_late(seconds, where_, self._dice.randint(1, 4))
            await anyio.sleep(1.5)
            fault.cancel()
            await anyio.sleep(seconds)

    async def _lost_answers(self) -> None:
        with self._noted("lost answer"):
            verb = self._dice.choice(("create", "patch", "delete", "create patch delete"))
            fault = self._bed.cluster.faults.lose_answer(self._plugins(verb, _LOST), self._dice.randint(1, 3))
            await anyio.sleep(2.0)
            fault.cancel()

    async def _cut(self) -> None:
        with self._noted("watches cut"):
            resource = self._dice.choice(("", "pods", "analysisruns", "podchaos"))
            self._bed.cluster.faults.cut_watches(resource)

    async def _break(self) -> None:
        """Streams end in the midst of a line, be it while they tell what is there."""
        with self._noted("lines broken, watches cut"):
            faults = self._bed.cluster.faults
            broken = [
                faults.break_stream(self._dice.randint(1, 6000), self._plugins(), self._dice.randint(1, 3))
                for _ in range(3)
            ]
            faults.cut_watches(self._dice.choice(("", "", "pods", "analysisruns", "podchaos")))
            await anyio.sleep(2.0)
            for fault in broken:
                fault.cancel()

    async def _trickle(self) -> None:
        with self._noted("watches trickling"):
            faults = self._bed.cluster.faults
            seconds = self._dice.uniform(0.5, 3.0)
            slow = faults.trickle(
                0.002, self._plugins(), self._dice.randint(1, 3), after=int(seconds / 0.002)
            )
            faults.cut_watches(self._dice.choice(("", "pods", "analysisruns", "podchaos")))
            await anyio.sleep(1.5)
            slow.cancel()
            await anyio.sleep(2 * seconds)

    async def _proxy(self) -> None:
        """A proxy asks to sign in, whatever it is asked for."""
        with self._noted("storm of a proxy"):
            verb = self._dice.choice(("watch", "", "create patch"))
            faults = self._bed.cluster.faults
            text = "<html>please sign in</html>\n"
            fault = faults.answer(200, text, self._plugins(verb), self._dice.randint(1, 8))
            faults.cut_watches(self._dice.choice(("", "pods")))
            await anyio.sleep(2.0)
            fault.cancel()

    async def _freeze(self) -> None:
        with self._noted("watches frozen"):
            thaw = self._bed.cluster.faults.freeze_watches(self._dice.choice(("", "pods", "podchaos")))
            await anyio.sleep(self._dice.uniform(0.2, 3.0))
            thaw()

    async def _expire(self) -> None:
        with self._noted("watches expired"):
            self._bed.cluster.faults.expire()

    async def _expire_at_connect(self) -> None:
        with self._noted("watches expired"):
            faults = self._bed.cluster.faults
            fault = faults.refuse(errors.too_old(1, 2), self._plugins("watch"), self._dice.randint(1, 4))
            faults.cut_watches()
            await anyio.sleep(2.0)
            fault.cancel()

    async def _restore(self) -> None:
        """The API server goes on over a backup: the same objects, at lower versions."""
        with self._noted("history expired by a restored backup"):
            self._bed.cluster.faults.restore_backup()
            for _ in range(3):  # who goes on at a version from before is told nothing, until that breaks, too
                await anyio.sleep(1.2)
                self._bed.cluster.faults.cut_watches()

    async def _delete_kind(self) -> None:
        """One kind's CRD is deleted with all its experiments, and installed again."""
        with self._noted(KIND_GONE):
            api = self._bed.cluster.api
            (kind,) = (each for each in CHAOS_KINDS if each.kind == KINDS["stress"].kind)
            api.delete(CRDS, "", kind.qualified)
            with anyio.fail_after(_GONE_S):
                while api.installed(kind):
                    await anyio.sleep(0.05)
            await anyio.sleep(self._dice.uniform(0.0, 1.5))
            api.install(kind)

    async def _chaos_mesh_stops(self) -> None:
        with self._noted("Chaos Mesh stopped"):
            self._bed.cluster.chaos.stop()
            await anyio.sleep(self._dice.uniform(0.2, 3.0))
            self._bed.cluster.chaos.start()

    # -- who is killed

    async def _kill_plugin(self) -> None:
        with self._noted("plugin killed", RESYNC_S):
            victim = self._deaths.choice(self._bed.controllers)
            if victim.kill_plugin():
                await self._until_plugins()

    async def _kill_controller(self) -> None:
        """Its successor begins at once, while the dead one's plugin finds out."""
        with self._noted("controller killed", RESYNC_S):
            await self._bed.kill(self._deaths.choice(self._bed.controllers))
            await self._bed.begin()
            await self._until_plugins()

    async def _kill_both(self) -> None:
        with self._noted("controller and plugin killed", RESYNC_S):
            victim = self._deaths.choice(self._bed.controllers)
            victim.kill_plugin()
            await self._bed.kill(victim)
            await self._bed.begin()
            await self._until_plugins()

    async def _stop_plugin(self) -> None:
        """It stands still, perhaps for longer than a proof holds, and goes on as if nothing had happened."""
        with self._noted("plugin stood still", RESYNC_S):
            victim = self._deaths.choice(self._bed.controllers)
            with victim.stopped():
                await anyio.sleep(self._deaths.choice((1.0, 4.0, 12.0)) * self._deaths.random())

    async def _two_controllers(self) -> None:
        """Leadership goes over badly: for a while there are two, then the old one ends."""
        with self._noted("two controllers, one killed", RESYNC_S):
            old = self._bed.controllers[0]
            await self._bed.begin()
            await self._until_plugins()
            with old.stopped() if self._deaths.random() < _SOME else nullcontext():
                await anyio.sleep(self._deaths.uniform(0.0, 4.0))
            await anyio.sleep(self._deaths.uniform(0.0, 2.0))
            await self._bed.end(old)

    async def _until_plugins(self) -> None:
        """Wait until each controller has its plugin, which it starts at its first call."""
        with anyio.move_on_after(10):
            while not all(each.plugin for each in self._bed.controllers):
                await anyio.sleep(0.1)

    def _noted(self, what: str, more: float = 0.0) -> AbstractContextManager[None]:
        return self._bed.history.troubling(what, _RECOVERY_S + more)
