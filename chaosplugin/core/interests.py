"""Who watches what: kept, as each event and each call would otherwise cost a look at every run.

Nothing here may cost more where there are more runs, as there may be thousands.
"""

from collections.abc import Iterable
from functools import lru_cache

from msgspec import Struct

from chaosplugin.core.run import BEGINNING, Run, Stage
from chaosplugin.core.topics import AnalysisRunsTopic, ChaosTopic, EventsTopic, OthersTopic, Topic

_NONE: frozenset["Watch"] = frozenset()


class Watch(Struct, frozen=True, gc=False):
    """A topic of one cluster: `endpoint` "" is the AnalysisRuns' own."""

    endpoint: str
    credentials: str
    credentials_namespace: str
    topic: Topic


class Interests:
    """The watches of all runs, by run and by watch."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[object, ...]] = {}
        self._watches: dict[str, frozenset[Watch]] = {}
        self._followers: dict[Watch, dict[str, None]] = {}
        self._changes: dict[Watch, bool] = {}
        """wanted, or not wanted any more, since somebody asked"""

    def of(self, run: Run) -> frozenset[Watch]:
        """Return what this run watches as it is now, and remember it."""
        fault = run.fault
        awaits = fault is not None and not fault.targets
        state = (run.stage, run.run_over, run.experiment_gone and run.gone, awaits, run.value, run.family)
        run_id = run.spec.id
        if self._states.get(run_id) != state:
            self._states[run_id] = state
            self._set(run_id, _watches(run, awaits_events=awaits))
        return self._watches.get(run_id, _NONE)

    def drop(self, run_id: str) -> None:
        """Forget a run."""
        self._states.pop(run_id, None)
        self._set(run_id, _NONE)

    def followers(self, watch: Watch) -> Iterable[str]:
        """Return the ids of the runs that watch it, in the order in which they began to."""
        return tuple(self._followers.get(watch, ()))

    def wants(self, watch: Watch) -> bool:
        """Tell whether any run watches it."""
        return watch in self._followers

    def take_changes(self) -> dict[Watch, bool]:
        """Return what is wanted, or not any more, since the last call; most often nothing."""
        changes = self._changes
        if changes:
            self._changes = {}
        return changes

    def _set(self, run_id: str, watches: frozenset[Watch]) -> None:
        before = self._watches.pop(run_id, _NONE)
        for watch in before - watches:
            followers = self._followers[watch]
            del followers[run_id]
            if not followers:
                del self._followers[watch]
                self._change(watch, wanted=False)
        for watch in watches - before:
            if watch not in self._followers:
                self._followers[watch] = {}
                self._change(watch, wanted=True)
            self._followers[watch][run_id] = None
        if watches:
            self._watches[run_id] = watches

    def _change(self, watch: Watch, *, wanted: bool) -> None:
        if self._changes.pop(watch, wanted) is wanted:  # else it is as it was
            self._changes[watch] = wanted


@lru_cache(1024)
def _shared(home: str, endpoint: str, credentials: str, kind: str, namespace: str) -> tuple[Watch, ...]:
    """Return the watches of AnalysisRuns, of what stands for them, and of experiments.

    They are the same objects for all runs that want them.
    """
    there = (endpoint, credentials, home if credentials else "")
    return (
        Watch("", "", "", AnalysisRunsTopic(home)),
        Watch("", "", "", OthersTopic(home)),
        Watch(*there, ChaosTopic(kind, namespace)),
    )


def _watches(run: Run, *, awaits_events: bool) -> frozenset[Watch]:
    if run.stage is Stage.DONE and run.run_over:
        return _NONE
    spec = run.spec
    home = spec.analysis_run.metadata.namespace
    analysis_runs, others, experiments = _shared(
        home, spec.endpoint, spec.credentials, spec.kind, spec.namespace
    )
    watches = {analysis_runs}
    if run.stage in BEGINNING:
        watches.add(others)
    there = (spec.endpoint, spec.credentials, home if spec.credentials else "")
    if run.stage is not Stage.DONE and not (run.gone and run.late_until is None):
        watches.add(experiments)
        if run.family:
            watches.update(Watch(*there, topic) for topic in run.family.topics(spec.namespace))
    if run.stage is Stage.OBSERVING and awaits_events:
        watches.add(Watch(*there, EventsTopic(spec.namespace)))
    if run.value and run.stage not in {Stage.RESTORING, Stage.DECIDED, Stage.DONE}:
        watches.add(Watch(*there, run.pods_topic))
    return frozenset(watches)
