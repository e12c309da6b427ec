"""The numbered points of a measurement's way: how a gate is stopped there, and let go."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.chaosmesh.faults import Trouble
from tests.walk.bed import Bed, Held
from tests.walk.gate import CHAOS, Gate, metric, twice


@dataclass
class Stop:
    """What holds a gate at its point. `let_go` is called when whoever was to be killed is dead."""

    gate: Gate
    reached: Callable[[], object] = lambda: False
    performed: list[Held] = field(default_factory=list)
    dropped: list[Held] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    keeps_down: bool = False
    """the canary's pods are not Ready before all is let go"""
    first_run: str = ""
    """uid of the AnalysisRun that was interfered with"""

    def let_go(self) -> None:
        for held in self.performed:
            held.perform()
        for held in self.dropped:
            held.drop()
        for trouble in self.troubles:
            trouble.mend()
        if self.troubles:  # its pauses grow with the time for which it has failed
            self.gate.touch_faults()
        if self.keeps_down:
            self.gate.keep_down(down=False)

    # -- ways to stop

    def hold(self, verb: str, resource: str, when: Callable[[], bool] = lambda: True) -> Held:
        asks = self.gate.asks(verb, resource)
        return self.gate.bed.hold(lambda seen: asks(seen) and when())

    def drop(self, verb: str, resource: str, when: Callable[[], bool] = lambda: True) -> Held:
        """Hold what will never arrive."""
        self.dropped.append(self.hold(verb, resource, when))
        return self.dropped[-1]

    def fail(self, operation: Any) -> None:
        namespace = self.gate.namespace
        self.troubles.append(
            self.gate.bed.cluster.chaos.fail(
                operation, "held", on=lambda obj, _: bool(obj["metadata"]["namespace"] == namespace)
            )
        )


@dataclass(frozen=True)
class Point:
    number: int
    name: str
    stop: Callable[[Stop], None]
    metric: Object = field(default_factory=metric)
    phase: str = "Successful"
    reason: str = "Survived"
    late: bool = False
    """only where the fault is over long since: begun before the others"""

    @property
    def namespace(self) -> str:
        return f"p{self.number}-{self.name}"


def _before_proof(stop: Stop) -> None:
    held = stop.drop("get", "rollouts")
    stop.reached = lambda: held.hit


def _before_mark(stop: Stop) -> None:
    held = stop.drop("patch", "analysisruns")
    stop.reached = lambda: held.hit


def _mark_lost(stop: Stop) -> None:
    stop.gate.bed.cluster.faults.lose_answer(stop.gate.asks("patch", "analysisruns"))
    held = stop.drop("", "", lambda: stop.gate.marked)
    stop.reached = lambda: held.hit


def _before_create(stop: Stop) -> None:
    """The mark says that it was about to be created."""
    held = stop.drop("create", CHAOS)
    stop.reached = lambda: held.hit and stop.gate.marked


def _create_sent(stop: Stop) -> None:
    held = stop.hold("create", CHAOS)
    stop.performed.append(held)
    stop.reached = lambda: held.hit


def _answer_lost(stop: Stop) -> None:
    stop.gate.bed.cluster.faults.lose_answer(stop.gate.asks("create", CHAOS))
    held = stop.drop("", "", lambda: bool(stop.gate.created))
    stop.reached = lambda: held.hit


def _first_event(stop: Stop) -> None:
    stop.fail("Apply")
    stop.reached = lambda: stop.gate.records


def _injected(stop: Stop) -> None:
    stop.fail("Recover")
    stop.reached = lambda: stop.gate.injected and stop.gate.marked


def _down_once_injected(stop: Stop) -> Callable[[], None]:
    """Return what takes the canary down once the fault is on; before that, the fault does not end."""
    stop.keeps_down = True
    stop.fail("Recover")
    trouble = stop.troubles[-1]

    def look() -> None:
        if trouble.left != 0 and stop.gate.injected:
            stop.gate.keep_down(down=True)
            trouble.mend()

    return look


def _recovered(stop: Stop) -> None:
    """The pods are not Ready before the restart, so that there is nothing to decide yet."""
    take_down = _down_once_injected(stop)

    def reached() -> bool:
        take_down()
        return stop.gate.recovered

    stop.reached = reached


def _decided(stop: Stop) -> None:
    held = stop.drop("patch", "analysisruns", lambda: bool(stop.gate.created))
    stop.reached = lambda: held.hit


def _host_does_not_write(stop: Stop) -> Held:
    stop.dropped.append(stop.gate.bed.hold(stop.gate.host_writes()))
    return stop.dropped[-1]


def _wake_lost(stop: Stop) -> None:
    asks = stop.gate.asks("patch", "analysisruns")
    stop.gate.bed.cluster.faults.lose_answer(lambda seen: asks(seen) and bool(stop.gate.created))
    _host_does_not_write(stop)
    held = stop.drop("", "", lambda: stop.gate.recorded)
    stop.reached = lambda: held.hit


def _answered(stop: Stop) -> None:
    written = _host_does_not_write(stop)
    stop.drop("delete", CHAOS)
    stop.reached = lambda: written.hit


def _deleted(stop: Stop) -> None:
    written = _host_does_not_write(stop)
    stop.reached = lambda: written.hit and stop.gate.created and not stop.gate.experiments


def _stored(stop: Stop) -> None:
    held = stop.drop("delete", CHAOS)
    stop.reached = lambda: held.hit and stop.gate.ended


def _down_until(then: Callable[[Stop], None]) -> Callable[[Stop], None]:
    """Let the canary not come back before all is let go, which is too late."""

    def stop_there(stop: Stop) -> None:
        take_down = _down_once_injected(stop)
        then(stop)
        at_point = stop.reached

        def reached() -> object:
            take_down()
            return at_point()

        stop.reached = reached

    return stop_there


def _points() -> list[Point]:
    broken = metric(config={"steadyState": {"recoverWithin": "2s"}})
    bad: dict[str, Any] = {"metric": broken, "phase": "Failed", "reason": "SteadyStateBroken", "late": True}
    return [
        Point(1, "before-proof", _before_proof),
        Point(2, "before-mark", _before_mark),
        Point(3, "mark-answer-lost", _mark_lost),
        Point(4, "before-create", _before_create),
        Point(5, "create-sent", _create_sent),
        Point(6, "create-answer-lost", _answer_lost),
        Point(7, "first-event", _first_event, metric(duration="6s")),
        Point(8, "injected", _injected),
        Point(9, "recovered", _recovered, late=True),
        Point(10, "decided", _decided, late=True),
        Point(11, "wake-answer-lost", _wake_lost, late=True),
        Point(12, "resume-answered", _answered, late=True),
        Point(13, "cr-deleted", _deleted, late=True),
        Point(14, "status-written", _stored, late=True),
        Point(10, "decided-broken", _down_until(_decided), **bad),
        Point(11, "wake-answer-lost-broken", _down_until(_wake_lost), **bad),
        Point(12, "resume-answered-broken", _down_until(_answered), **bad),
        Point(13, "cr-deleted-broken", _down_until(_deleted), **bad),
    ]


def _spawning_points() -> list[Point]:
    """Stop also what spawns: before it is there, while a fault is on, and after its verdict.

    A Schedule takes its time to fire, for which the others must not wait.
    """
    stops: tuple[tuple[int, str, Callable[[Stop], None], bool], ...] = (
        (4, "before-create", _before_create, False),
        (6, "create-answer-lost", _answer_lost, False),
        (8, "injected", _injected, False),
        (10, "decided", _decided, True),
        (13, "cr-deleted", _deleted, True),
    )
    return [
        Point(number, f"{name}-{kind}", stop, asked, late=late or (name, kind) == ("injected", "schedule"))
        for kind, asked in zip(("schedule", "workflow"), twice(), strict=True)
        for number, name, stop, late in stops
    ]


POINTS = [*_points(), *_spawning_points()]
BY_NAME = {point.name: point for point in POINTS}


def stopping(bed: Bed, point: Point, namespace: str) -> Stop:
    """Deploy a gate that will stop there."""
    stop = Stop(Gate(bed, namespace))
    point.stop(stop)
    stop.gate.deploy(point.metric)
    return stop


async def reach(bed: Bed, wave: list[Stop]) -> None:
    """Begin canaries, and wait until every gate is at its point."""
    for stop in wave:
        stop.gate.begin()
    missing = wave
    with anyio.move_on_after(200):
        while missing := [stop for stop in wave if not stop.reached()]:
            await anyio.sleep(0.02)  # a request that is held changes nothing in the cluster
    names = [stop.gate.namespace for stop in missing]
    assert not names, f"not reached: {names}\n" + "\n".join(bed.logs[-30:])
