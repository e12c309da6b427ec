"""What the watches show, for all runs that follow them: pods, what was spawned, and what cannot be seen."""

from collections.abc import Iterable

from chaosplugin.core import sightings
from chaosplugin.core.family import Children
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import Pod
from chaosplugin.core.pods import PodStore
from chaosplugin.core.run import Run
from chaosplugin.core.topics import (
    Applied,
    ChaosTopic,
    ChildrenTopic,
    Deleted,
    Lost,
    PodsTopic,
    Synced,
    WatchEvent,
)


class Views:
    """By watch, as long as it is open."""

    def __init__(self) -> None:
        self._pods: dict[Watch, PodStore] = {}
        self._children: dict[Watch, Children] = {}
        self._lost: dict[Watch, str] = {}

    def take(self, watch: Watch, event: WatchEvent) -> bool:
        """Take in one event; tell whether all who follow the watch see anything else than before."""
        topic, told = type(watch.topic), type(event)
        if topic is PodsTopic:
            store = self._store(watch)
            _show(store, event)
            return store.synced or told is Lost
        spawned = topic is ChildrenTopic
        if told is Applied and not spawned:  # as nearly all: it concerns whom it is about
            return False
        if spawned:
            self._children.setdefault(watch, Children()).take(event)
        before = self._lost.get(watch)
        if type(event) is Lost:
            self._lost[watch] = event.reason
        elif told is Synced:
            self._lost.pop(watch, None)
        return spawned or (topic is ChaosTopic and self._lost.get(watch) != before)

    def drop(self, watch: Watch) -> None:
        """Forget what a watch has shown that nobody wants any more."""
        self._pods.pop(watch, None)
        self._children.pop(watch, None)
        self._lost.pop(watch, None)

    def pods(self, watches: Iterable[Watch]) -> PodStore:
        """Return the pods that one of these watches shows."""
        for watch in watches:
            if type(watch.topic) is PodsTopic:
                return self._store(watch)
        return PodStore()

    def _store(self, watch: Watch) -> PodStore:
        store = self._pods.get(watch)
        if store is None:
            store = self._pods[watch] = PodStore()
        return store

    def chaos_lost(self, run: Run, watches: Iterable[Watch]) -> str:
        """Say why the fault cannot be followed now, "" if it can."""
        if not self._lost and run.family is None:  # as nearly always
            return ""
        about = (watch for watch in watches if isinstance(watch.topic, ChaosTopic | ChildrenTopic))
        lost = next((self._lost[watch] for watch in about if watch in self._lost), "")
        return lost or ("what it has spawned was not told" if run.family and not run.family.synced else "")

    def gather(self, run: Run, watches: Iterable[Watch]) -> None:
        """Let a family know what is there of it, until nothing new turns up."""
        family, parent = run.family, run.experiment
        if family is None or parent is None or run.gone:
            return
        stores = [self._children.get(watch) for watch in watches if isinstance(watch.topic, ChildrenTopic)]
        told = all(store is not None and store.synced for store in stores)
        synced = told and not family.forgetful
        family.told = told
        if not family.hungry and synced == family.synced:
            return
        family.synced = synced
        while family.hungry:
            family.hungry = False
            for child in [child for store in stores if store for child in store.live]:
                family.take(parent, child, gone=False)
        sightings.see_experiment(run, parent)


def _show(store: PodStore, event: WatchEvent) -> None:
    if type(event) is Synced:
        store.synced, store.lost = True, ""
    elif type(event) is Lost:
        store.lost = event.reason
    elif type(event) is Applied and type(event.object) is Pod:
        store.apply(event.object)
    elif type(event) is Deleted and type(event.object) is Pod:
        store.delete(event.object)
