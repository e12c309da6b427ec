"""Gates of analyses as told to who does not work on them, by a home that tells what the test says."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

import anyio
from msgspec.structs import replace

from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.run import Stage
from chaosplugin.core.topics import AnalysisRunsTopic, Applied, Deleted, Lost, Synced, Topic
from chaosplugin.provider.analyses import KEEP, Analyses
from chaosplugin.provider.ports import Cluster, Denied, Tell
from tests.core.test_gates import NOW, stored, with_measurements

if TYPE_CHECKING:
    from chaosplugin.core.gates import GateEvent

EVERYWHERE = AnalysisRunsTopic("")
DEFAULT = AnalysisRunsTopic("default")


class Home:
    """A cluster whose one watch is in the hands of the test."""

    def __init__(self, *listed: AnalysisRun) -> None:
        self.listed = list(listed)
        self.lists = 0
        self.followed: list[str] = []
        self.patched: list[tuple[str, str, object]] = []
        self.denied: set[str] = set()
        self.tell: Tell = lambda *_: None

    async def follow(self, topic: Topic, tell: Tell) -> Callable[[], None]:
        self.followed.append(topic.namespace)
        self.tell = tell
        for each in self.listed:
            tell(Applied(topic, each))
        tell(Synced(topic))
        return lambda: None

    async def list_analysis_runs(self, namespace: str, selector: str) -> list[AnalysisRun]:
        assert selector == "chaosplugin.io/gate"
        if namespace in self.denied:
            raise Denied("no")
        self.lists += 1
        return [each for each in self.listed if namespace in {"", each.metadata.namespace}]

    async def patch_analysis_run(self, namespace: str, name: str, patch: object) -> None:
        self.patched.append((namespace, name, patch))


class Bed:
    def __init__(self, home: Home, tasks: anyio.abc.TaskGroup) -> None:
        self.home = home
        self.now = NOW
        self.known: set[str] = set()
        self.told: list[GateEvent] = []
        self.analyses = Analyses(
            tasks,
            cast("Cluster", home),
            clock=lambda: self.now,
            known=lambda gate_id: gate_id in self.known,
            tell=self.told.append,
        )

    @property
    def steps(self) -> list[tuple[str, Stage | None, Stage]]:
        return [(event.gate.name, event.before, event.gate.stage) for event in self.told]


@asynccontextmanager
async def bed(*listed: AnalysisRun) -> AsyncIterator[Bed]:
    async with anyio.create_task_group() as tasks:
        yield Bed(Home(*listed), tasks)
        tasks.cancel_scope.cancel()


def run(name: str, phase: str = "Running", ended: datetime = NOW, namespace: str = "default") -> AnalysisRun:
    """An AnalysisRun whose one measurement is in this phase."""
    measurement = stored(phase, Identity(f"uid-{name}", "chaos", 1))
    if phase != "Running":
        measurement = replace(measurement, finished_at=ended.isoformat())
    found = with_measurements(measurement, count=int(phase != "Running"))
    metadata = replace(found.metadata, name=name, uid=f"uid-{name}", namespace=namespace)
    return replace(found, metadata=metadata)


def id_of(name: str) -> str:
    return Identity(f"uid-{name}", "chaos", 1).digest


async def test_what_has_ended_before_is_shown_and_only_what_happens_is_told() -> None:
    async with bed(run("old", "Failed"), run("open")) as at:
        at.analyses.follow("")
        await anyio.wait_all_tasks_blocked()
        assert at.steps == [("open", None, Stage.PROVING)]
        assert {gate.name for gate in at.analyses.live()} == {"old", "open"}

        at.home.tell(Applied(EVERYWHERE, run("open")))
        at.home.tell(Applied(EVERYWHERE, run("open", "Successful")))
        at.home.tell(Applied(EVERYWHERE, run("short", "Failed")))  # began and ended while the watch was cut

        assert at.steps[1:] == [("open", Stage.PROVING, Stage.DONE), ("short", None, Stage.DONE)]
        assert at.home.lists == 0


async def test_a_gate_that_this_process_works_on_is_told_by_itself() -> None:
    async with bed() as at:
        at.analyses.follow("")
        await anyio.wait_all_tasks_blocked()
        at.known = {id_of("here")}

        at.home.tell(Applied(EVERYWHERE, run("here")))
        at.home.tell(Applied(EVERYWHERE, run("here", "Successful")))
        at.known = set()  # forgotten, and nothing of it is news
        at.home.tell(Applied(EVERYWHERE, run("here", "Successful")))

        assert at.steps == []


async def test_a_deleted_analysis_run_ends_its_gates_and_is_forgotten() -> None:
    async with bed(run("open"), run("ended", "Successful")) as at:
        at.analyses.follow("")
        await anyio.wait_all_tasks_blocked()
        at.home.tell(Deleted(EVERYWHERE, run("open")))
        at.home.tell(Deleted(EVERYWHERE, run("ended", "Successful")))

        assert at.steps[1:] == [("open", Stage.PROVING, Stage.DONE)]
        assert (at.told[-1].gate.reason, at.told[-1].gate.finished_at) == ("Terminated", NOW)
        assert at.analyses.live() == []
        assert at.analyses._gates == {}


async def test_gates_that_ended_long_ago_are_found_by_their_id_only() -> None:
    async with bed(run("old", "Failed", NOW - KEEP - timedelta(seconds=1)), run("open")) as at:
        for _ in range(2):
            assert [gate.name for gate in await at.analyses.all_in("default")] == ["open"]
            assert (await at.analyses.find("default", id_of("old"))) is not None
            at.analyses.follow("")
            await anyio.wait_all_tasks_blocked()
        assert [gate.name for gate in at.analyses.live()] == ["open"]


async def test_where_nobody_follows_a_gate_that_is_asked_for_is_read_and_followed_from_then_on() -> None:
    async with bed(run("open"), run("there", namespace="other")) as at:
        assert await at.analyses.find("default", "0123456789") is None
        assert at.home.followed == []  # of a namespace without gates nobody has to be told

        found = await at.analyses.find("", id_of("open"))
        assert found is not None
        assert (found.name, at.home.followed) == ("open", ["default"])
        lists = at.home.lists
        at.home.tell(Applied(DEFAULT, run("open", "Failed")))
        await at.analyses.find("default", id_of("open"))

        assert at.steps[-1] == ("open", Stage.PROVING, Stage.DONE)
        assert at.home.lists == lists
        await at.analyses.terminate(found)
        assert at.home.patched == [("default", "open", {"spec": {"terminate": True}})]


async def test_while_the_watch_is_cut_gates_are_read_and_where_that_is_denied_as_told_last() -> None:
    async with bed(run("open")) as at:
        at.analyses.follow("default")
        await anyio.wait_all_tasks_blocked()
        await at.analyses.all_in("default")
        assert at.home.lists == 0
        at.home.tell(Lost(DEFAULT, "it restarts"))

        assert [gate.name for gate in await at.analyses.all_in("default")] == ["open"]
        assert at.home.lists == 1
        at.home.denied = {"", "default"}
        assert [gate.name for gate in await at.analyses.all_in("")] == ["open"]
        assert await at.analyses.all_in("other") == []


async def test_a_namespace_is_followed_once() -> None:
    async with bed() as at:
        for namespace in ("default", "default", "", "other"):
            at.analyses.follow(namespace)
            await anyio.wait_all_tasks_blocked()

        assert at.home.followed == ["default", ""]
