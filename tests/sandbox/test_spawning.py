"""Schedules and Workflows as the real controllers were measured, or read where they were not."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import (
    EVENTS,
    POD_CHAOS,
    SCHEDULES,
    WORKFLOW_NODES,
    WORKFLOWS,
    Object,
    Resource,
)
from chaosplugin.sandbox.api.store import Stored
from chaosplugin.sandbox.cluster import Cluster
from tests.sandbox.bed import deploy, until

Running = Callable[..., AbstractAsyncContextManager[Cluster]]

_SELECTOR = {"labelSelectors": {"app": "web"}, "namespaces": ["default"]}
_FAILURE = {"action": "pod-failure", "mode": "one", "selector": _SELECTOR}
_PAUSE = "experiment.chaos-mesh.org/pause"


def schedule(cluster: Cluster, *, duration: str | None = "1s", **spec: object) -> Stored:
    chaos = {**_FAILURE, **({"duration": duration} if duration else {})}
    whole = {"schedule": "@every 1s", "type": "PodChaos", "podChaos": chaos, **spec}
    return cluster.api.create(SCHEDULES, {"metadata": {"name": "s"}, "spec": whole}, "default")


def workflow(cluster: Cluster, *templates: Object, entry: str = "all") -> Stored:
    spec = {"entry": entry, "templates": list(templates)}
    return cluster.api.create(WORKFLOWS, {"metadata": {"name": "w"}, "spec": spec}, "default")


def chaos(name: str, deadline: str = "1s", **spec: object) -> Object:
    return {
        "name": name,
        "templateType": "PodChaos",
        "deadline": deadline,
        "podChaos": {**_FAILURE, **spec},
    }


def there(cluster: Cluster, resource: Resource = POD_CHAOS) -> list[Object]:
    return [each.object for each in cluster.api.list(resource, "default")]


def reasons(cluster: Cluster, kind: str) -> set[str]:
    return {e["reason"] for e in there(cluster, EVENTS) if e["involvedObject"]["kind"] == kind}


def accomplished(cluster: Cluster) -> bool:
    status = there(cluster, WORKFLOWS)[0].get("status") or {}
    return {"type": "Accomplished", "status": "True", "reason": ""} in status.get("conditions", ())


async def test_a_schedule_fires_first_a_period_after_its_creation(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        made = schedule(cluster, historyLimit=5)
        await until(cluster, lambda: len(there(cluster)) == 2)
        child = there(cluster)[0]
        (owner,) = child["metadata"]["ownerReferences"]

        assert child["metadata"]["name"].startswith("s-")
        assert child["metadata"]["labels"] == {"managed-by": "s"}
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (made.uid, True, True)
        assert {"Spawned", "Updated"} <= reasons(cluster, "Schedule")

        def listed() -> bool:
            status = there(cluster, SCHEDULES)[0]["status"]
            return bool(status["time"] and len(status["active"]) == len(there(cluster)))

        await until(cluster, listed)

        cluster.api.delete(SCHEDULES, "default", "s")
        await until(cluster, lambda: not there(cluster))


async def test_a_pause_ends_what_was_fired_and_fires_no_more(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        schedule(cluster, duration="1m", historyLimit=5)
        await until(cluster, lambda: there(cluster))
        cluster.api.merge(SCHEDULES, "default", "s", {"metadata": {"annotations": {_PAUSE: "true"}}})

        def stopped() -> bool:
            (child,) = there(cluster)
            phase = (child.get("status") or {}).get("experiment", {}).get("desiredPhase")
            return bool(child["metadata"].get("annotations") == {_PAUSE: "true"} and phase == "Stop")

        await until(cluster, stopped)


async def test_one_that_is_on_forbids_the_next(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        schedule(cluster, duration="1m", historyLimit=5)
        await until(cluster, lambda: "Forbid" in reasons(cluster, "Schedule"))

        assert len(there(cluster)) == 1


@pytest.mark.parametrize("duration", ["1s", None])
async def test_without_a_history_limit_nothing_stays(running: Running, duration: str | None) -> None:
    async with running() as cluster:
        await deploy(cluster)
        gone: list[str] = []
        cluster.store.listen(
            lambda change: gone.append(change.stored.name) if change.type == "DELETED" else None, POD_CHAOS
        )
        schedule(cluster, duration=duration)

        await until(cluster, lambda: len(gone) == 2)


async def test_a_workflow_goes_through_its_steps_and_deletes_what_it_created(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        told: list[str] = []
        cluster.store.listen(
            lambda change: (
                told.append(f"{change.type} {change.stored.name[:-12]}")
                if change.type != "MODIFIED"
                else None
            ),
            POD_CHAOS,
        )
        both = {"name": "both", "templateType": "Parallel", "children": ["a", "b"]}
        rest = {"name": "rest", "templateType": "Suspend", "deadline": "1s"}
        serial = {"name": "all", "templateType": "Serial", "children": ["a", "rest", "both"]}
        workflow(cluster, serial, rest, both, chaos("a"), chaos("b", "2s"))
        await until(cluster, lambda: there(cluster))
        child = there(cluster)[0]
        node = child["metadata"]["labels"]["chaos-mesh.org/controlled-by"]

        assert child["metadata"]["labels"]["chaos-mesh.org/workflow"] == "w"
        assert child["metadata"]["name"].startswith(f"{node}-")
        assert child["metadata"]["ownerReferences"][0]["kind"] == "WorkflowNode"

        await until(cluster, lambda: accomplished(cluster))
        await until(cluster, lambda: not there(cluster))

        assert sorted(told) == ["ADDED a", "ADDED a", "ADDED b", "DELETED a", "DELETED a", "DELETED b"]
        assert len(there(cluster, WORKFLOW_NODES)) == 6

        cluster.api.delete(WORKFLOWS, "default", "w")
        await until(cluster, lambda: not there(cluster, WORKFLOW_NODES))


async def test_an_abort_is_passed_down(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        serial = {"name": "all", "templateType": "Serial", "children": ["a"]}
        workflow(cluster, serial, chaos("a", "1m"))
        await until(cluster, lambda: there(cluster))
        abort = {"metadata": {"annotations": {"workflow.chaos-mesh.org/abort": "true"}}}
        cluster.api.merge(WORKFLOWS, "default", "w", abort)

        await until(cluster, lambda: accomplished(cluster) and not there(cluster))


async def test_the_webhooks_refuse_in_upstreams_words(running: Running) -> None:
    async with running() as cluster:
        with pytest.raises(ApiError, match=r"parse schedule field error:expected 5 to 6 fields, found 1"):
            schedule(cluster, schedule="soon")
        with pytest.raises(ApiError, match="panic: runtime error") as panic:
            schedule(cluster, type="StressChaos")
        assert panic.value.code == 500
        with pytest.raises(ApiError, match="can not find a template with name all"):
            workflow(cluster, chaos("a"))
        with pytest.raises(ApiError, match="use Template#Deadline instead"):
            workflow(cluster, chaos("a", duration="1s"), entry="a")
        with pytest.raises(ApiError, match="template name must be unique, duplicated names: "):
            workflow(cluster, chaos("a"), chaos("a"), entry="a")
        with pytest.raises(ApiError, match="unrecognized template type: Nap"):
            workflow(cluster, {"name": "a", "templateType": "Nap"}, entry="a")
