"""Events: what `kubectl describe` shows of a gate, and that no gate ever waits for them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from chaosplugin.core.analysis import Phase
from chaosplugin.core.announcements import Announcement, Subject
from chaosplugin.core.run import Notice
from chaosplugin.kube.client import connect
from chaosplugin.provider.announcing import BURST, Announcer
from chaosplugin.provider.ports import Cluster
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, UPSTREAM_ROLE, rule
from chaosplugin.sandbox.api.faults import where
from tests.provider.gate import NAMESPACE, Gate, clock, config, gate

RUN = Subject("argoproj.io/v1alpha1", "AnalysisRun", NAMESPACE, "web-1", "uid-1")


def events(bed: Gate, kind: str = "AnalysisRun") -> list[dict[str, Any]]:
    found = [each.copy() for each in bed.cluster.api.list(resources.EVENTS, NAMESPACE)]
    ours = [each for each in found if each["source"]["component"] == "chaosplugin"]
    return [each for each in ours if each["involvedObject"]["kind"] == kind]


def notice(message: str = "x") -> Announcement:
    return Announcement((RUN,), Notice.REFUSED, message)


async def test_a_gate_shows_its_way_on_analysis_run_and_rollout(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL
        await bed.until(lambda: any(each["reason"] == "ExperimentDeleted" for each in events(bed, "Rollout")))
        way = ["GateStarted", "FaultInjected", "FaultRecovered", "GatePassed", "ExperimentDeleted"]
        for kind in ("AnalysisRun", "Rollout"):
            shown = sorted(events(bed, kind), key=lambda each: str(each["metadata"]["name"]))
            assert [each["reason"] for each in shown] == way
            assert {each["type"] for each in shown} == {"Normal"}
            assert {each["count"] for each in shown} == {1}
            assert answer.message in shown[3]["message"]


async def test_a_refusal_that_comes_again_is_counted(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run, bad = bed.analysis_run(), bed.metric(config(timeOut="5m"))

        for _ in range(3):
            bed.provider.run(run, bad)

        await bed.until(lambda: [each["count"] for each in events(bed)] == [3])
        (shown,) = events(bed)
        assert (shown["reason"], shown["type"]) == ("GateRefused", "Warning")
        assert "did you mean timeout?" in shown["message"]


def way_to(cluster: Cluster) -> Callable[[], Awaitable[Cluster]]:
    async def home() -> Cluster:
        return cluster

    return home


async def test_one_object_gets_so_many_events_and_then_one_in_five_minutes(tmp_path: Path) -> None:
    async with (
        gate(tmp_path) as bed,
        connect(str(bed.cluster.kubeconfig(ARGO_ROLLOUTS)), clock=clock, rate=1000) as ample,
        anyio.create_task_group() as tasks,
    ):
        announcer = Announcer(way_to(ample), lambda: clock() + bed.ahead)
        tasks.start_soon(announcer.serve)
        for number in range(BURST + 5):
            announcer.tell([notice(f"number {number}")])
        await bed.until(lambda: len(events(bed)) == BURST)
        await bed.heard(lambda: not announcer._waiting)

        bed.ahead += timedelta(minutes=5)
        announcer.tell([notice("late"), notice("too many")])

        await bed.until(lambda: any(each["message"] == "late" for each in events(bed)))
        assert len(events(bed)) == BURST + 1
        tasks.cancel_scope.cancel()


async def test_an_event_that_has_expired_is_posted_anew(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed, anyio.create_task_group() as tasks:
        announcer = Announcer(way_to(bed.home), clock)
        tasks.start_soon(announcer.serve)
        announcer.tell([notice()])
        await bed.until(lambda: len(events(bed)) == 1)
        bed.cluster.api.delete(resources.EVENTS, NAMESPACE, events(bed)[0]["metadata"]["name"])

        announcer.tell([notice()])

        await bed.until(lambda: len(events(bed)) == 1)
        tasks.cancel_scope.cancel()


async def test_where_the_budget_of_requests_is_short_no_event_is_sent(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        config_file = str(bed.cluster.kubeconfig(ARGO_ROLLOUTS))
        async with connect(config_file, clock=clock, rate=0.1) as narrow:
            for _ in range(30):
                await narrow.origin()
                narrow._origin = None

            assert not await narrow.create_event({"metadata": {"namespace": NAMESPACE, "name": "x"}})

        assert events(bed) == []


async def test_without_the_right_to_post_events_a_gate_is_judged_as_always(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        bed.cluster.access.revoke(ARGO_ROLLOUTS)
        mute = [each for each in UPSTREAM_ROLE if each != rule("create update patch", "", "events")]
        bed.cluster.access.grant(ARGO_ROLLOUTS, (*mute, *PLUGIN_ROLE))
        with caplog.at_level("INFO"):
            answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert caplog.text.count("no Events: ") == 1
        assert events(bed) == []


async def test_events_that_are_never_answered_hold_up_no_gate(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        held = bed.cluster.faults.hold(where(verb="create", resource="events"), times=99)

        answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        await bed.until(lambda: not bed.experiments)
        assert events(bed) == []
        held.cancel()
        assert held.wait is not None
        held.wait.set()
