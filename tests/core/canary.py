"""The canary of a gate whose life is played: its pods fall, rise and restart, and watches of them are cut."""

from datetime import datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from chaosplugin.core.objects import Pod
from tests.core.given import HASH, START, pod
from tests.core.test_registry_model import Gates

A, B, C = (f"web-{HASH}-{name * 5}" for name in "abc")
"""A is the pod that is hit; C takes its place where it is killed"""


class Canary(Gates):
    """Two pods, and what they have done that those of a canary which survives have not."""

    fate = "fine"
    """what the gate is up against"""

    def deploy(self, *, kill: bool) -> None:
        """Begin with both pods, as far as the fate lets them be; `kill`: the fault is one that kills."""
        self.kill = kill
        self.number = 0
        self.there: dict[str, Pod] = {}
        """the pods, whatever is told of them"""
        self.silent = False
        self.hit_at: datetime | None = None
        self.over_at: datetime | None = None
        self.fell = self.excess = False
        """what a canary that survives has not done"""
        self.slipped = False
        """the pod that is to be hit fell before, which its hit excuses"""
        self.early = False
        """it did so while the create was on its way, and after the look at it that comes before"""
        self.whole_since = START
        if self.fate != "no pods":
            self._put(A, ready=self.fate != "unready")
            self._put(B)

    @property
    def pods(self) -> list[Pod]:
        return list(self.there.values())

    def _put(self, name: str, *, ready: bool = True, restarts: int = 0) -> None:
        self.number += 1
        now = self.world.now if hasattr(self, "world") else START - timedelta(hours=1)
        known = self.there.get(name)
        same = known is not None and known.ready is ready and known.ready_condition
        since = same.last_transition_time if same else None
        restarts += known.restarts if known else 0
        born = now if hasattr(self, "world") else now - timedelta(hours=1)  # long before it was Ready
        created = known.metadata.creation_timestamp if known else born
        self.there[name] = pod(
            name,
            ready=ready,
            restarts=restarts,
            since=since or now,
            version=str(self.number),
            created=created,
        )

    @property
    def whole(self) -> bool:
        return sum(each.ready for each in self.there.values()) >= 2

    def change(self, name: str, *, ready: bool = True, restarts: int = 0, gone: bool = False) -> None:
        """Let a pod be so from now on, and be told so, if it can be."""
        before, was_whole = self.there.get(name), self.whole
        if gone:
            del self.there[name]
        else:
            self._put(name, ready=ready, restarts=restarts)
        if self.whole and not was_whole:
            self.whole_since = self.world.now
        if self.silent:
            return
        if not gone:
            self.world.pods(self.there[name], others=False)
        elif before is not None and before.metadata.uid in self.world.canary:
            self.world.pod_gone(before)

    def let_pass(self, seconds: float) -> None:
        self.world.wait(seconds)

    @property
    def on_its_way(self) -> bool:
        run = self.world.registry.run(self.world.spec.id)
        return self.creates == 0 and run is not None and run.create_sent

    @rule(name=st.sampled_from([A, B]), back=st.booleans())
    @precondition(lambda self: self.there)
    def fall(self, name: str, back: bool) -> None:
        if name not in self.there:
            return
        self.let_pass(1)  # the times of pods are whole seconds
        if self.over_at is None:
            self.early |= self.on_its_way
            if name != A:  # which is the one that is hit
                self.fell |= self.creates > 0
            elif self.hit_at is None or self.fate == "astray":
                self.slipped |= self.creates > 0
        self.change(name, ready=False)
        if back:
            self.change(name)

    @rule()
    @precondition(lambda self: not self.whole)
    def rise(self) -> None:
        if self.fate == "unready" or (self.hit_at and not self.over_at and not self.kill):
            return
        for name in [name for name, each in self.there.items() if not each.ready]:
            self.change(name)

    @rule()
    @precondition(lambda self: B in self.there)
    def restart(self) -> None:
        self.excess |= self.creates > 0
        self.early |= self.on_its_way
        self.change(B, ready=self.there[B].ready, restarts=1)

    @rule()
    @precondition(lambda self: self.fate != "blind" or not self.silent)
    def fall_silent(self) -> None:
        """The watch of the pods is cut; later it tells what was missed."""
        self.silent = not self.silent
        if self.silent:
            self.world.pods_lost("HTTP 503")
            return
        told = {each.metadata.name for each in self.world.canary.values()}
        for name in told - self.there.keys():
            self.world.pod_gone(next(e for e in self.world.canary.values() if e.metadata.name == name))
        self.world.pods(*self.pods, others=False)
