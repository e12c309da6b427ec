"""The sweep deletes what is known to be left over, and nothing else."""

from datetime import timedelta
from pathlib import Path
from typing import cast

import anyio
import pytest

from chaosplugin.core import ledger
from chaosplugin.core.ledger import TRACEPARENT
from chaosplugin.core.topics import AnalysisRunsTopic
from chaosplugin.core.trace import ROOT, Trace
from chaosplugin.kube.client import connect
from chaosplugin.provider import ports, sweeping
from chaosplugin.provider.facts import Fact, Requested, Swept
from chaosplugin.provider.sweeping import sweep
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, UPSTREAM_ROLE
from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.cluster import Cluster, start
from chaosplugin.sandbox.narrator import is_ready
from tests.provider.gate import NAMESPACE, clock, config, gate, podchaos, schedule
from tests.provider.test_spawning import another, there, workflow

READ = ("get", "analysisruns")


def nobody(_: str) -> bool:
    """Tell that no process takes care of a run."""
    return False


def leave(cluster: Cluster, uid: str, name: str = "left", analysis_run: str = "web-1", **labels: str) -> None:
    """Leave an experiment behind, as a process that died would have."""
    origin = cluster.api.get(resources.NAMESPACES, "", "kube-system").object["metadata"]["uid"]
    metadata = {
        "name": name,
        "labels": {
            ledger.MANAGED_BY: ledger.MANAGER,
            ledger.RUN: "0123456789",
            ledger.ANALYSIS_RUN_UID: uid,
            ledger.ORIGIN: origin,
            **labels,
        },
        "annotations": {ledger.RUN: f"{NAMESPACE}/{analysis_run}"},
    }
    cluster.api.create(resources.POD_CHAOS, {**podchaos(duration="5m"), "metadata": metadata}, NAMESPACE)


async def test_what_an_ended_analysis_left_behind_is_deleted(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy(replicas=1)
        run = bed.analysis_run()
        leave(bed.cluster, run.metadata.uid)
        assert await sweep(bed.home, nobody) == Swept(unattended=1), "the analysis goes on"

        done = {"status": {"phase": "Successful"}}
        bed.cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, "web-1", done)
        assert (await sweep(bed.home, nobody)).deleted == 1

        await bed.until(lambda: not bed.experiments)


async def test_an_analysis_that_a_watch_shows_alive_is_not_read(tmp_path: Path) -> None:
    """After a restart there may be thousands, which are about to be resumed."""
    async with gate(tmp_path) as bed:
        bed.deploy(replicas=1)
        run = bed.analysis_run()
        leave(bed.cluster, run.metadata.uid)
        bed.cluster.api.merge(
            resources.ANALYSIS_RUNS, NAMESPACE, "web-1", {"metadata": {"labels": {ledger.GATE: "true"}}}
        )
        topic = AnalysisRunsTopic(NAMESPACE)
        end = await bed.home.follow(topic, lambda *_: None)
        await bed.until(lambda: bed.home.told(topic, "web-1") is not None)
        bed.cluster.server.seen.clear()

        assert await sweep(bed.home, nobody) == Swept(unattended=1)
        assert not [seen for seen in bed.cluster.server.seen if seen.resource == "analysisruns"]

        done = {"status": {"phase": "Successful"}}
        bed.cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, "web-1", done)
        assert (await sweep(bed.home, nobody)).deleted == 1
        end()


async def test_of_many_analyses_that_are_marked_none_is_read_by_itself(tmp_path: Path) -> None:
    async with start(clock, tmp_path) as cluster:
        for number in range(20):
            name = f"web-{number}"
            metadata = {"name": name, "labels": {ledger.GATE: "true"}}
            run = {"metadata": metadata, "spec": {"metrics": []}}
            made = cluster.api.create(resources.ANALYSIS_RUNS, run, NAMESPACE)
            leave(cluster, made.metadata["uid"], f"left-{number}", name)
        done = {"status": {"phase": "Successful"}}
        cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, "web-7", done)
        kubeconfig = str(cluster.kubeconfig(ARGO_ROLLOUTS))
        async with connect(kubeconfig, clock=clock) as home:
            assert await sweep(home, nobody) == Swept(deleted=1, unattended=19)
        read = [seen.name for seen in cluster.server.seen if (seen.verb, seen.resource) == READ]

    assert read == ["web-7"], "what is to be deleted is asked for"


async def test_what_is_taken_care_of_since_the_sweep_began_stays(tmp_path: Path) -> None:
    """After a restart thousands are resumed while the first sweep goes on."""
    attended: set[str] = set()

    def busy(run: str) -> bool:
        known = run in attended
        attended.add(run)
        return known

    async with gate(tmp_path) as bed:
        leave(bed.cluster, "never-was")

        assert await sweep(bed.home, busy) == Swept()


async def test_what_belongs_to_an_analysis_that_is_gone_is_deleted(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        leave(bed.cluster, "never-was")

        assert (await sweep(bed.home, nobody)).deleted == 1


@pytest.mark.parametrize("labels", [{ledger.KEEP: "true"}, {ledger.ORIGIN: "another-cluster"}])
async def test_what_is_kept_or_came_from_elsewhere_stays(tmp_path: Path, labels: dict[str, str]) -> None:
    async with gate(tmp_path) as bed:
        leave(bed.cluster, "never-was", **labels)

        assert (await sweep(bed.home, nobody)).deleted == 0


async def test_what_this_process_takes_care_of_stays(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        leave(bed.cluster, "never-was")

        assert (await sweep(bed.home, "0123456789".__eq__)).deleted == 0


async def test_without_the_right_to_look_nothing_is_deleted(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.cluster.access.revoke(ARGO_ROLLOUTS)
        bed.cluster.access.grant(ARGO_ROLLOUTS, UPSTREAM_ROLE)
        leave(bed.cluster, "never-was")

        assert (await sweep(bed.home, nobody)).deleted == 0


async def test_what_is_stuck_in_its_deletion_is_forced_only_from_a_given_time_on(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        await bed.until(lambda: bed.pods and all(is_ready(pod) for pod in bed.pods))  # what can be selected
        bed.cluster.chaos.fail("Recover", "no daemon")
        leave(bed.cluster, "never-was")
        await bed.until(lambda: bed.injected)
        bed.cluster.api.delete(resources.POD_CHAOS, NAMESPACE, "left")

        assert (await sweep(bed.home, nobody)).deleted == 0
        assert (await sweep(bed.home, nobody, clock() - timedelta(seconds=60))).deleted == 0
        assert (await sweep(bed.home, nobody, clock() + timedelta(seconds=2))).deleted == 1

        await bed.until(lambda: not bed.experiments)


@pytest.mark.parametrize("flags", ["01", "00", "zz"])
async def test_the_deletion_of_what_is_left_belongs_to_its_gates_trace(tmp_path: Path, flags: str) -> None:
    trace = Trace("0af7651916cd43dd8448eb211c80319c")
    told: list[Fact] = []
    async with start(clock, tmp_path) as cluster:
        leave(cluster, "never-was")
        parent = f"00-{trace.id}-{trace.span(ROOT)}-{flags}"
        note = {"metadata": {"annotations": {TRACEPARENT: parent}}}
        cluster.api.merge(resources.POD_CHAOS, NAMESPACE, "left", note)
        kubeconfig = str(cluster.kubeconfig(ARGO_ROLLOUTS))
        async with connect(kubeconfig, clock=clock, observer=told.append) as home:
            await sweep(home, nobody)
    requests = [fact for fact in told if isinstance(fact, Requested)]
    (deletion,) = [fact for fact in requests if fact.method == "DELETE"]

    assert {fact.gate for fact in requests if fact.method != "DELETE"} == {None}
    if flags == "01":
        assert deletion.gate is not None
        assert (deletion.gate.trace, deletion.gate.run) == (trace, "0123456789")
    else:
        assert deletion.gate is None


@pytest.mark.parametrize(
    ("configuration", "resource"),
    [
        (config(schedule(duration="60s"), scheduleFor="90s", timeout="5m"), resources.SCHEDULES),
        (config(workflow("60s"), timeout="5m"), resources.WORKFLOWS),
    ],
)
async def test_what_a_schedule_or_a_workflow_left_that_is_gone_is_found_and_forced(
    tmp_path: Path, configuration: Object, resource: resources.Resource
) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        metric = bed.metric(configuration)
        async with another(bed) as dies:
            dies.resume(run, metric, dies.run(run, metric))
            await bed.until(lambda: bed.injected)
            (named,) = dies.runs
        bed.cluster.chaos.fail("Recover", "no daemon")
        assert await sweep(bed.home, nobody) == Swept(unattended=1), "its analysis goes on"

        (parent,) = there(bed, resource)
        bed.cluster.api.delete(resource, NAMESPACE, parent["metadata"]["name"])
        await bed.until(lambda: "deletionTimestamp" in bed.experiments[0]["metadata"])

        assert (await sweep(bed.home, named.__eq__)) == Swept(), "this process takes care of it"
        assert (await sweep(bed.home, nobody)) == Swept(stuck=1)
        assert (await sweep(bed.home, nobody, clock() - timedelta(seconds=60))) == Swept(stuck=1)
        assert (await sweep(bed.home, nobody, clock() + timedelta(seconds=2))) == Swept(deleted=1)

        await bed.until(lambda: not bed.experiments)


async def test_what_somebody_elses_schedule_has_spawned_is_nobodys_here(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        metadata = {"name": "again-0123456789-abcde", "labels": {"managed-by": "again-0123456789"}}
        bed.cluster.api.create(resources.POD_CHAOS, {**podchaos(), "metadata": metadata}, NAMESPACE)

        assert await sweep(bed.home, nobody, clock() + timedelta(seconds=2)) == Swept()


async def test_what_another_replica_works_on_is_looked_at_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, pauses = [1] * 14 + [0, 1], list[float]()

    class Enough(Exception):
        """All of it was swept."""

    async def sweep(*_: object) -> Swept:
        return Swept(unattended=found[len(pauses)])

    async def none() -> ports.Cluster:
        return cast("ports.Cluster", None)

    async def sleep(pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == len(found):
            raise Enough

    monkeypatch.setattr(sweeping, "sweep", sweep)
    monkeypatch.setattr(anyio, "sleep", sleep)
    with pytest.raises(Enough):
        await sweeping.sweep_for_ever(none, nobody, lambda _: None)

    assert pauses == [*[10.0] * 8, 20, 40, 80, 160, 320, 600, 75, 10]
