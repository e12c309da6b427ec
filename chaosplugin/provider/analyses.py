"""Gates of analyses as their AnalysisRuns tell of them, whichever process works on them.

Argo's calls reach one process, and only a call tells what is to be measured: so no other can work on such a
gate. But mark, verdict and measurement stand on the AnalysisRun, from which everybody can tell how the gate
is, and ends with it.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

import anyio
from anyio.abc import TaskGroup

from chaosplugin.core import ledger
from chaosplugin.core.gates import Gate, GateEvent, gates_in
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.topics import AnalysisRunsTopic, Applied, Deleted, Lost, Synced, WatchEvent
from chaosplugin.provider.background import keep
from chaosplugin.provider.ports import Access, Cluster, ClusterError, Denied

KEEP = timedelta(hours=1)
"""How long a gate that has ended is shown among the others, and the record of one without an analysis kept"""
_AGAIN_S = 5.0
_SETTLE_S = 5.0

_log = logging.getLogger(__name__)


class Analyses:
    """The gates of all AnalysisRuns that may be seen; what is kept of each is a copy."""

    def __init__(
        self,
        tasks: TaskGroup,
        home: Cluster,
        *,
        clock: Callable[[], datetime],
        known: Callable[[str], bool],
        tell: Callable[[GateEvent], None],
    ) -> None:
        """`tell` is told their steps; not those of a gate that is `known`, which this process works on."""
        self._tasks = tasks
        self._home = home
        self._clock = clock
        self._known = known
        self._tell = tell
        self._followed: dict[str, anyio.Event] = {}
        """by namespace, "" is all of them: set once all that is there was told, or could not be"""
        self._current: set[str] = set()
        """those of which what changes is told as it does"""
        self._listed: set[str] = set()
        """those of which all that is there was told once"""
        self._gates: dict[str, dict[str, Gate]] = {}
        """as last told, by the uid of their AnalysisRun, then by id"""

    async def may_follow(self, namespace: str) -> bool:
        """Tell whether those of a namespace, or of all (""), may be followed. Raises: ClusterError."""
        for verb in ("list", "watch"):
            if not await self._home.allowed(Access(verb, "argoproj.io", "analysisruns", namespace)):
                return False
        return True

    def follow(self, namespace: str) -> None:
        """Tell the steps of all gates of a namespace, or of all of them (""), from now on."""
        if not self._followed.keys() & {"", namespace}:
            self._followed[namespace] = anyio.Event()
            self._tasks.start_soon(keep, partial(self._follow, namespace))

    async def _follow(self, namespace: str) -> None:
        while True:
            try:
                end = await self._home.follow(AnalysisRunsTopic(namespace), self._take)
            except ClusterError as error:
                _log.warning("cannot follow gates of analyses: %s", error)
                await anyio.sleep(_AGAIN_S)
                continue
            try:
                await anyio.sleep_forever()
            finally:
                end()

    def live(self) -> list[Gate]:
        """Return those of the namespaces that are followed; not those that ended long ago."""
        return self._lately(self._told(""))

    async def all_in(self, namespace: str) -> list[Gate]:
        """Return those of a namespace, or of all (""), likewise. Raises: ClusterError."""
        return self._lately(await self._seen(namespace))

    async def find(self, namespace: str, gate_id: str) -> Gate | None:
        """Return one of a namespace, or of any (""), and tell its steps from now on. Raises: ClusterError."""
        found = _find(await self._seen(namespace), gate_id)
        if found is None or self._is_current(found.namespace):
            return found
        self.follow(found.namespace)
        for each in self._followed.keys() & {"", found.namespace}:
            with anyio.move_on_after(_SETTLE_S):
                await self._followed[each].wait()
        return _find(self._told(found.namespace), gate_id) or found

    async def terminate(self, gate: Gate) -> None:
        """Let Argo end the AnalysisRun of a gate, as a person would. Raises: ClusterError."""
        await self._home.patch_analysis_run(gate.namespace, gate.name, {"spec": {"terminate": True}})

    async def _seen(self, namespace: str) -> Iterable[Gate]:
        """Return gates as they are told, or as they are read where nobody tells."""
        if self._is_current(namespace):
            return self._told(namespace)
        try:
            read = await self._home.list_analysis_runs(namespace, ledger.GATE)
        except Denied:
            return self._told(namespace)
        return [gate for run in read for gate in gates_in(run)]

    def _is_current(self, namespace: str) -> bool:
        return not self._current.isdisjoint({"", namespace})

    def _told(self, namespace: str) -> Iterable[Gate]:
        for gates in self._gates.values():
            for gate in gates.values():
                if namespace in {"", gate.namespace}:
                    yield gate

    def _lately(self, gates: Iterable[Gate]) -> list[Gate]:
        since = self._clock() - KEEP
        return [gate for gate in gates if gate.finished_at is None or gate.finished_at > since]

    # -- what the watch tells

    def _take(self, *events: WatchEvent) -> None:
        for event in events:
            self._take_event(event)

    def _take_event(self, event: WatchEvent) -> None:
        namespace = event.topic.namespace
        match event:
            case Applied(_, AnalysisRun() as run):
                self._see(run, gates_in(run), first=namespace not in self._listed)
            case Deleted(_, AnalysisRun() as run):
                self._see(run, gates_in(run, self._clock()), first=False)
                self._gates.pop(run.metadata.uid, None)
            case Synced():
                self._current.add(namespace)
                self._listed.add(namespace)
                self._followed[namespace].set()
            case Lost():
                self._current.discard(namespace)
                self._followed[namespace].set()
            case _:
                pass

    def _see(self, run: AnalysisRun, told: Iterable[Gate], *, first: bool) -> None:
        """Tell what is new; of the `first` that are told not those that had ended before."""
        before = self._gates.get(run.metadata.uid, {})
        gates = self._gates[run.metadata.uid] = {gate.id: gate for gate in told}
        for gate in gates.values():
            known = before.get(gate.id)
            if known is not None and (known.stage, known.phase) == (gate.stage, gate.phase):
                continue
            if self._known(gate.id) or (first and known is None and gate.phase.completed):
                continue
            self._tell(GateEvent(gate, known.stage if known else None, self._clock()))


def _find(gates: Iterable[Gate], gate_id: str) -> Gate | None:
    return next((gate for gate in gates if gate.id == gate_id), None)
