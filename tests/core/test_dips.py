"""Dips: a canary that was worse than allowed, and is well again before anybody has read it.

The pods go on telling of it by their restarts, and by when they became Ready. Watches are cut and silent
as they like here; an oracle sees all.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Confirm, Confirmed, Find, Found, LedgerRead, ReadLedger, ReadReplicas
from chaosplugin.core.commands import ReplicasRead as Wanted
from chaosplugin.core.objects import ChaosObject, Pod, Record
from chaosplugin.core.steady_state import Baseline, Rules, baseline
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, recovered
from tests.core.world import World

SURVIVED = (Phase.SUCCESSFUL, Reason.SURVIVED)
BROKEN = (Phase.FAILED, Reason.STEADY_STATE_BROKEN)
RULES = Rules(recover_within=timedelta(seconds=20))
"""of a fault under which all pods stay Ready"""


def _later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def _on(rules: Rules = RULES) -> World:
    world = World(rules=rules)
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    return world


def _answer(world: World, *, generation: int | None = 1, on: bool = True, wanted: int = 2) -> None:
    """Let what is asked be read until nothing is asked any more; the fault is on, or over."""
    record = hit("web-a") if on else recovered("web-a", world.now)
    found = world.chaos(record, desired="Run" if on else "Stop")
    for _ in range(4):
        for command in list(world.todo):
            if isinstance(command, ReadReplicas):
                world.done(world.expect(ReadReplicas), Wanted(wanted, generation))
            elif isinstance(command, Confirm):
                world.done(world.expect(Confirm), Confirmed(list(world.canary.values()), experiment=found))


def test_a_dip_that_ends_within_the_readings_breaks_the_state() -> None:
    world = _on()
    world.wait(3)
    world.pods(pod("web-b", ready=False, since=_later(3)))
    world.pods(pod("web-b", since=_later(4)))

    _answer(world)

    assert world.verdict == BROKEN
    assert "1 pods were not Ready for a while, or replaced, the last at 2026-01-01T12:00:04" in world.message


def test_a_dip_that_no_watch_has_told_breaks_the_state() -> None:
    world = _on()
    world.wait(10)

    world.pods(pod("web-b", since=_later(4)))
    _answer(world)

    assert world.verdict == BROKEN


def test_a_dip_that_is_told_only_after_the_fault_breaks_the_state() -> None:
    world = _on()
    world.wait(10)
    world.experiment(recovered("web-a", world.now), desired="Stop")

    world.pods(pod("web-b", since=_later(4)))
    _answer(world, on=False)

    assert world.verdict == BROKEN
    assert "while it was on" in world.message


def test_a_dip_just_after_the_fault_is_borne_where_the_watch_of_the_fault_is_behind() -> None:
    world = _on()
    world.wait(10)
    world.pods(pod("web-b", ready=False, since=_later(10)))
    world.done(world.expect(ReadReplicas), Wanted(2, 1))
    over = world.chaos(recovered("web-a", _later(9)), desired="Stop")

    world.done(world.expect(Confirm), Confirmed(list(world.canary.values()), experiment=over))
    world.pods(pod("web-b", since=_later(12)))
    world.wait(12)

    assert world.verdict == SURVIVED


def test_whoever_scales_meanwhile_breaks_nothing() -> None:
    world = _on()
    world.wait(3)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-c", since=_later(4)))

    _answer(world, generation=3)

    assert world.verdict is None


def test_whoever_scales_while_it_is_read_how_many_are_wanted_breaks_nothing() -> None:
    world = _on()
    world.wait(3)
    world.pods(pod("web-b", ready=False, since=_later(3)))
    asked = world.expect(ReadReplicas)

    world.pod_gone(pod("web-b"))
    world.done(asked, Wanted(2, 1))
    world.done(world.expect(ReadReplicas), Wanted(1, 2))

    assert world.verdict is None
    assert not [each for each in world.todo if isinstance(each, Confirm)]


@pytest.mark.parametrize("rules", [replace(RULES, min_ready=1), replace(RULES, min_ready_percent=50)])
def test_dips_that_are_borne_one_at_a_time_are_borne(rules: Rules) -> None:
    world = _on(rules)
    world.wait(10)

    world.pods(pod("web-a", since=_later(4)), pod("web-b", since=_later(6)))
    _answer(world)

    assert world.verdict is None


def test_a_restart_counts_although_its_pod_has_changed_since() -> None:
    world = _on()
    world.pods(pod("web-b", restarts=1, version="8"))
    world.done(world.expect(ReadReplicas), Wanted(2, 1))

    there = [pod("web-a"), pod("web-b", restarts=1, version="9")]
    world.done(world.expect(Confirm), Confirmed(there, experiment=world.chaos(hit("web-a"), desired="Run")))

    assert world.verdict == BROKEN
    assert "1 container restarts" in world.message


def test_a_dip_before_a_restart_of_the_plugin_breaks_the_state() -> None:
    before = World(rules=RULES)
    before.to_create()
    world = World(rules=RULES)
    world.created = before.created
    world.now = _later(30)
    world.start(resume=True)
    found = world.chaos(recovered("web-a", _later(20)), desired="Stop")
    world.done(
        world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=found, value=HASH)
    )

    world.pods(pod("web-a"), pod("web-b", since=_later(9)))
    _answer(world, on=False)

    assert world.verdict == BROKEN


def test_the_state_before_survives_in_an_annotation() -> None:
    before = baseline([pod("web-a", restarts=2), pod("web-b", since=_later(-5))], 7)

    assert Baseline.from_text(before.as_text()) == Baseline(2, {"uid-web-a": 2}, START, 7)
    assert Baseline.from_text("2;uid-web-a=1") == Baseline(2, {"uid-web-a": 1}), "as older plugins write it"
    assert Baseline.from_text("2;;yesterday;7") is None
    assert Baseline.from_text("2;;9999-12-31T23:59:59Z;7") is None


# -- any history


FAULT_S = 20


@dataclass
class Truth:
    """What is there, whatever is told of it: a canary of two, and a fault that stays ten seconds."""

    canary: dict[str, Pod]
    wanted: int = 2
    generation: int = 1
    broken: bool = False
    """the canary was worse than allowed while the fault was on, as it goes on telling"""
    named: int = 0

    def change(self, what: str, name: str, at: datetime, *, on: bool) -> None:
        names = sorted(self.canary)
        name = names[int(name) % len(names)] if names else ""
        known = self.canary.get(name)
        match what:
            case "fall" if known and known.ready:
                self._put(name, known, ready=False, at=at)
            case "rise" if known and not known.ready:
                self._put(name, known, ready=True, at=at)
            case "blink" if known and known.ready:  # down and up within the second
                self._put(name, known, ready=True, at=at)
                lowest = sum(each.ready for each in self.canary.values()) - 1
                self.broken |= on and lowest < min(2, self.wanted)
            case "restart" if known:
                restarts = known.restarts + 1
                self.canary[name] = pod(
                    name, ready=known.ready, restarts=restarts, since=_since(known), version=str(at)
                )
                self.broken = True  # at any time
            case "replace" if known:
                del self.canary[name]
                self._add(at)
            case "grow" if self.wanted < 3:
                self._scale(+1)
                self._add(at)
            case "shrink" if self.wanted > 1 and len(self.canary) > 1:
                self._scale(-1)
                del self.canary[name]
            case _:
                return
        ready = sum(each.ready for each in self.canary.values())
        if on and ready < min(2, self.wanted):
            self.broken = True

    def _scale(self, by: int) -> None:
        self.wanted += by
        self.generation += 1

    def _add(self, at: datetime) -> None:
        self.named += 1
        name = f"web-{self.named}"
        self.canary[name] = pod(name, ready=False, since=at, version=str(at))

    def _put(self, name: str, known: Pod, *, ready: bool, at: datetime) -> None:
        self.canary[name] = pod(name, ready=ready, restarts=known.restarts, since=at, version=str(at))


def _since(known: Pod) -> datetime:
    condition = known.ready_condition
    assert condition is not None
    assert condition.last_transition_time is not None
    return condition.last_transition_time


class Play:
    """A gate, what is really there, and watches that tell of it now and then."""

    def __init__(self) -> None:
        self.world = World(rules=RULES)
        self.world.to_observing()
        self.world.experiment(hit("web-a"), desired="Run")
        self.truth = Truth({each.metadata.name: each for each in self.world.canary.values()})
        self._seen = dict(self.truth.canary)

    @property
    def fault(self) -> tuple[Record, str]:
        on = self.world.now < _later(FAULT_S)
        return (hit("web-a"), "Run") if on else (recovered("web-a", _later(FAULT_S)), "Stop")

    @property
    def experiment(self) -> ChaosObject:
        record, desired = self.fault
        return self.world.chaos(record, desired=desired)

    def tell(self) -> None:
        """Let the watch of the pods tell what is there."""
        there = self.truth.canary
        for name in self._seen.keys() - there.keys():
            self.world.pod_gone(self._seen[name])
        self.world.pods(*(each for name, each in there.items() if self._seen.get(name) != each))
        self._seen = dict(there)

    def answer(self) -> None:
        """Answer what is asked by what is there, until nothing is asked any more."""
        world, truth = self.world, self.truth
        for _ in range(6):
            for command in list(world.todo):
                if isinstance(command, ReadReplicas):
                    world.done(world.expect(ReadReplicas), Wanted(truth.wanted, truth.generation))
                elif isinstance(command, Confirm):
                    reading = Confirmed(list(truth.canary.values()), experiment=self.experiment)
                    world.done(world.expect(Confirm), reading)
                elif isinstance(command, Find):
                    world.done(world.expect(Find), Found(self.experiment))


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(
        st.tuples(
            st.integers(1, 30),
            st.sampled_from(["fall", "rise", "rise", "blink", "restart", "replace", "grow", "shrink"]),
            st.sampled_from("01"),
        ),
        max_size=8,
    ),
    told=st.lists(st.integers(1, 32), max_size=10),
    told_from=st.sampled_from([FAULT_S + 3, 60]),
    fault_told_after=st.integers(0, 4),
)
def test_each_dip_that_the_pods_tell_of_counts_and_no_healthy_canary_fails(
    changes: list[tuple[int, str, str]], told: list[int], told_from: int, fault_told_after: int
) -> None:
    """Each second something may happen, and the watches may tell what is there, or be silent."""
    play = Play()
    world, truth = play.world, play.truth
    for second in range(1, 120):
        world.wait(1)
        if world.verdict is not None:
            break
        for _, what, name in (each for each in changes if each[0] == second):
            truth.change(what, name, world.now, on=second < FAULT_S)
        if second in told or second >= told_from:
            play.tell()
        if second == FAULT_S + fault_told_after:
            record, desired = play.fault
            world.experiment(record, desired=desired)
        play.answer()

    there = truth.canary.values()
    traces = any(START < _since(each) < _later(FAULT_S) or each.restarts for each in there)
    assert world.verdict is not None
    if truth.broken and traces and truth.generation == 1 and told_from < FAULT_S + 5:
        assert world.verdict == BROKEN, world.message
    if not truth.broken and sum(each.ready for each in there) >= min(2, truth.wanted):
        assert world.verdict == SURVIVED, world.message
