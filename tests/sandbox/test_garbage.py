"""Owners, namespaces, pods and their replacement, as the real controllers do it."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    CONFIG_MAPS,
    NAMESPACES,
    POD_CHAOS,
    PODS,
    REPLICA_SETS,
    Object,
)
from chaosplugin.sandbox.cluster import Cluster
from chaosplugin.sandbox.namespaces import Pace
from chaosplugin.sandbox.replicasets import ready
from tests.sandbox.bed import deploy, ready_pods, until

Running = Callable[..., AbstractAsyncContextManager[Cluster]]


def owner(cluster: Cluster) -> str:
    return cluster.api.create(ANALYSIS_RUNS, {"metadata": {"name": "run"}, "spec": {}}, "default").uid


def dependent(cluster: Cluster, uid: str, *finalizers: str, **more: object) -> None:
    reference = {"apiVersion": "argoproj.io/v1alpha1", "kind": "AnalysisRun", "name": "run", "uid": uid}
    metadata: Object = {"name": "mine", "ownerReferences": [reference | more], "finalizers": list(finalizers)}
    cluster.api.create(CONFIG_MAPS, {"metadata": metadata}, "default")


def gone(cluster: Cluster) -> bool:
    return cluster.api.find(CONFIG_MAPS, "default", "mine") is None


@pytest.mark.parametrize("propagation", ["", "Background", "Foreground"])
async def test_what_an_owner_owns_goes_with_it(running: Running, propagation: str) -> None:
    async with running() as cluster:
        dependent(cluster, owner(cluster))
        cluster.api.delete(ANALYSIS_RUNS, "default", "run", DeleteOptions(propagation=propagation))
        await until(cluster, lambda: gone(cluster))
        await until(cluster, lambda: cluster.api.find(ANALYSIS_RUNS, "default", "run") is None)


async def test_an_owner_that_never_was_takes_its_dependent_with_it(running: Running) -> None:
    async with running() as cluster:
        dependent(cluster, "00000000-0000-0000-0000-000000000000")
        await until(cluster, lambda: gone(cluster))


async def test_an_orphan_stays_without_its_reference(running: Running) -> None:
    async with running() as cluster:
        dependent(cluster, owner(cluster))
        cluster.api.delete(ANALYSIS_RUNS, "default", "run", DeleteOptions(propagation="Orphan"))
        await until(cluster, lambda: cluster.api.find(ANALYSIS_RUNS, "default", "run") is None)

        assert "ownerReferences" not in cluster.api.get(CONFIG_MAPS, "default", "mine").metadata


async def test_foreground_waits_only_for_those_that_block(running: Running) -> None:
    async with running() as cluster:
        dependent(cluster, owner(cluster), "a.b/held", blockOwnerDeletion=True)
        cluster.api.delete(ANALYSIS_RUNS, "default", "run", DeleteOptions(propagation="Foreground"))
        await until(cluster, lambda: cluster.api.get(CONFIG_MAPS, "default", "mine").deleting)

        run = cluster.api.get(ANALYSIS_RUNS, "default", "run")
        assert (run.deleting, run.metadata["finalizers"]) == (True, ["foregroundDeletion"])

        cluster.api.merge(CONFIG_MAPS, "default", "mine", {"metadata": {"finalizers": []}})
        await until(cluster, lambda: cluster.api.find(ANALYSIS_RUNS, "default", "run") is None)


async def test_foreground_does_not_wait_for_others(running: Running) -> None:
    async with running() as cluster:
        dependent(cluster, owner(cluster), "a.b/held")
        cluster.api.delete(ANALYSIS_RUNS, "default", "run", DeleteOptions(propagation="Foreground"))
        await until(cluster, lambda: cluster.api.find(ANALYSIS_RUNS, "default", "run") is None)

        assert cluster.api.get(CONFIG_MAPS, "default", "mine").deleting


async def test_a_namespace_loses_its_pods_first_and_then_its_custom_resources(running: Running) -> None:
    pace = Pace(built_in=0.05, custom=0.1, gone=0.2, again=0.1)
    async with running(namespaces=pace) as cluster:
        await deploy(cluster, replicas=1)
        spec = {"action": "pod-failure", "mode": "all", "selector": {}}
        cluster.api.create(POD_CHAOS, {"metadata": {"name": "x"}, "spec": spec}, "default")
        order: list[str] = []
        cluster.store.listen(lambda c: order.append(c.stored.resource.kind) if c.type == "DELETED" else None)
        cluster.api.delete(NAMESPACES, "", "default")
        await until(cluster, lambda: cluster.api.find(NAMESPACES, "", "default") is None)

        assert order.index("Pod") < order.index("PodChaos") < order.index("Namespace")


async def test_a_replica_set_makes_and_replaces_its_pods(running: Running) -> None:
    async with running() as cluster:
        made = await deploy(cluster, replicas=2)
        first, second = cluster.api.list(PODS, "default")

        assert first.metadata["labels"] == {"app": "web"}
        assert first.metadata["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
        assert first.metadata["ownerReferences"][0]["controller"]
        assert {first.object["spec"]["nodeName"], second.object["spec"]["nodeName"]} == {"node-1", "node-2"}

        cluster.api.delete(PODS, "default", first.name)
        await until(cluster, lambda: cluster.api.find(PODS, "default", first.name) is None)
        await until(cluster, lambda: ready_pods(cluster) == 2)
        await until(
            cluster,
            lambda: cluster.api.get(REPLICA_SETS, "default", "web").object["status"]["readyReplicas"] == 2,
        )

        cluster.api.merge(REPLICA_SETS, "default", "web", {"spec": {"replicas": 0}})
        await until(cluster, lambda: not cluster.api.list(PODS, "default"))


async def test_a_deleted_replica_set_takes_its_pods_with_it(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=2)
        cluster.api.delete(REPLICA_SETS, "default", "web")
        await until(cluster, lambda: not cluster.api.list(PODS, "default"))


@pytest.mark.parametrize("prefix", ["sandbox.chaosplugin.io/", "realbed/"])
async def test_annotations_script_a_pod(running: Running, prefix: str) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1, annotations={f"{prefix}ready-after": "0.01"})
        (pod,) = cluster.api.list(PODS, "default")
        cluster.api.merge(
            PODS, "default", pod.name, {"metadata": {"annotations": {f"{prefix}ready": "false"}}}
        )
        await until(cluster, lambda: not ready(cluster.api.get(PODS, "default", pod.name)))
        cluster.api.merge(PODS, "default", pod.name, {"metadata": {"annotations": {f"{prefix}ready": None}}})
        await until(cluster, lambda: ready_pods(cluster) == 1)
        linger = {"metadata": {"annotations": {f"{prefix}gone-after": "0.2"}}}
        cluster.api.merge(PODS, "default", pod.name, linger)
        cluster.api.delete(PODS, "default", pod.name)
        await until(cluster, lambda: len(cluster.api.list(PODS, "default")) == 2)

        assert cluster.api.get(PODS, "default", pod.name).deleting

        await until(cluster, lambda: cluster.api.find(PODS, "default", pod.name) is None)
