"""The sequences and texts measured on the real chaos-controller-manager."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from anyio import fail_after

from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import CHAOS_KINDS, EVENTS, POD_CHAOS, PODS, Object, Resource
from chaosplugin.sandbox.cluster import Cluster
from chaosplugin.sandbox.replicasets import ready
from tests.sandbox.bed import deploy, ready_pods, story, until

Running = Callable[..., AbstractAsyncContextManager[Cluster]]

STRESS = next(each for each in CHAOS_KINDS if each.kind == "StressChaos")
NETWORK = next(each for each in CHAOS_KINDS if each.kind == "NetworkChaos")
KILL = {"action": "pod-kill"}
FAILURE = {"action": "pod-failure"}


def chaos(name: str, **spec: object) -> Object:
    selector = {"labelSelectors": {"app": "web"}, "namespaces": ["default"]}
    return {"metadata": {"name": name}, "spec": {"mode": "all", "selector": selector} | spec}


def events(cluster: Cluster, kind: str = "") -> list[str]:
    found = cluster.api.list(EVENTS)
    return [f"{e.object['reason']}: {e.object['message']}" for e in found if kind in {"", e.object["type"]}]


def condition(cluster: Cluster, resource: Resource, name: str, kind: str) -> bool:
    found = cluster.api.find(resource, "default", name)
    known = (found.object.get("status") or {}).get("conditions") or () if found else ()
    return any(each["type"] == kind and each["status"] == "True" for each in known)


def record(cluster: Cluster, resource: Resource, name: str) -> Object:
    found: Object = cluster.api.get(resource, "default", name).object["status"]["experiment"][
        "containerRecords"
    ][0]
    return found


async def test_pod_failure_tells_the_nine_events_of_the_real_one(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        told = story(cluster, POD_CHAOS)
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE, duration="2s"), "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))
        hit = cluster.api.list(PODS, "default")

        assert not any(map(ready, hit))
        assert {c["image"] for pod in hit for c in pod.object["spec"]["containers"]} == {
            "gcr.io/google-containers/pause:latest"
        }

        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllRecovered"))

        assert told == [
            "ADDED gen1",
            "MODIFIED finalizer gen1",
            "MODIFIED finalizer Run gen2",
            "MODIFIED finalizer Run true= gen3",
            "MODIFIED finalizer Run true= ['. Injected 1/0'] gen4",
            "MODIFIED finalizer Run true=AllInjected,Selected ['. Injected 1/0'] gen5",
            "MODIFIED finalizer Stop true=AllInjected,Selected ['. Injected 1/0'] gen6",
            "MODIFIED finalizer Stop true=AllInjected,Selected ['. Not Injected 1/1'] gen7",
            "MODIFIED finalizer Stop true=AllRecovered,Selected ['. Not Injected 1/1'] gen8",
        ]

        await until(cluster, lambda: ready_pods(cluster) == 3)
        statuses = [
            c for pod in cluster.api.list(PODS, "default") for c in pod.object["status"]["containerStatuses"]
        ]

        assert {status["restartCount"] for status in statuses} == {2}
        assert {status["image"] for status in statuses} == {"web:1", "side:1"}
        assert "chaos-mesh" not in str([pod.metadata.get("annotations") for pod in cluster.api.list(PODS)])


async def test_pod_kill_is_over_when_injected_and_its_pods_are_replaced(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster)
        before = {pod.uid for pod in cluster.api.list(PODS, "default")}
        told = story(cluster, POD_CHAOS)
        cluster.api.create(POD_CHAOS, chaos("x", **KILL, mode="one"), "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))
        await until(cluster, lambda: ready_pods(cluster) == 3)

        assert len({pod.uid for pod in cluster.api.list(PODS, "default")} - before) == 1

        cluster.api.delete(POD_CHAOS, "default", "x")
        await until(cluster, lambda: cluster.api.find(POD_CHAOS, "default", "x") is None)

        assert told[4:] == [
            "MODIFIED finalizer Run true= ['. Injected 1/0'] gen4",
            "MODIFIED finalizer Run true=AllInjected,Selected ['. Injected 1/0'] gen5",
            "MODIFIED finalizer deleting Run true=AllInjected,Selected ['. Injected 1/0'] gen6",
            "MODIFIED finalizer deleting Stop true=AllInjected,Selected ['. Injected 1/0'] gen7",
            "MODIFIED finalizer deleting Stop true=AllInjected,Selected ['. Not Injected 1/1'] gen8",
            "DELETED finalizer deleting Stop true=AllInjected,Selected ['. Not Injected 1/1'] gen8",
        ]


async def test_container_kill_restarts_the_container_named(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        obj = chaos("x", action="container-kill", containerNames=["side"])
        cluster.api.create(POD_CHAOS, obj, "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))

        (pod,) = cluster.api.list(PODS, "default")
        assert record(cluster, POD_CHAOS, "x")["id"] == f"default/{pod.name}/side"
        assert [c["restartCount"] for c in pod.object["status"]["containerStatuses"]] == [0, 1]


async def test_network_chaos_waits_for_its_child(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        told = story(cluster, NETWORK)
        obj = chaos("x", action="loss", loss={"loss": "100"}, duration="1s500ms")
        cluster.api.create(NETWORK, obj, "default")
        await until(cluster, lambda: condition(cluster, NETWORK, "x", "AllInjected"))
        await until(cluster, lambda: condition(cluster, NETWORK, "x", "AllRecovered"))

        phases = [line for line in told if "/Wait" in line or "true=AllInjected" in line]
        assert "MODIFIED finalizer Run true= ['. Not Injected/Wait 0/0'] gen4" in phases
        assert any("Stop" in line and "Injected/Wait 1/0" in line for line in phases)


async def test_an_order_for_a_pod_that_is_gone_holds_up_nothing(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.api.create(NETWORK, chaos("x", action="delay", delay={"latency": "1ms"}), "default")
        await until(cluster, lambda: "/Wait" in str(cluster.api.get(NETWORK, "default", "x").object))
        (pod,) = cluster.api.list(PODS, "default")
        cluster.api.delete(PODS, "default", pod.name)
        cluster.api.delete(NETWORK, "default", "x")

        with fail_after(10):
            await until(cluster, lambda: cluster.api.find(NETWORK, "default", "x") is None)


async def test_nothing_selected_is_told_by_two_events_and_then_silence(running: Running) -> None:
    async with running() as cluster:
        told = story(cluster, POD_CHAOS)
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE, duration="1s"), "default")
        await until(cluster, lambda: len(events(cluster, "Warning")) == 2)
        await until(cluster, lambda: "Stop" in told[-1])

        assert set(events(cluster, "Warning")) == {"Failed: Failed to select targets: no pod is selected"}
        assert told[3] == "MODIFIED finalizer Run true= gen3"
        assert not condition(cluster, POD_CHAOS, "x", "Selected")


async def test_a_patched_annotation_selects_again(running: Running) -> None:
    async with running() as cluster:
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE), "default")
        await until(cluster, lambda: len(events(cluster, "Warning")) == 2)
        await deploy(cluster, replicas=1)
        cluster.api.merge(POD_CHAOS, "default", "x", {"metadata": {"annotations": {"poke": "1"}}})
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))


async def test_failing_apply_is_retried_and_looks_recovered(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        trouble = cluster.chaos.fail("Apply", "no stress-ng here")
        cluster.api.create(STRESS, chaos("x", stressors={"cpu": {"workers": 1}}), "default")
        await until(cluster, lambda: len(record_events(cluster, STRESS, "x")) >= 4)

        assert condition(cluster, STRESS, "x", "AllRecovered")
        assert record(cluster, STRESS, "x")["injectedCount"] == 0
        assert record_events(cluster, STRESS, "x")[0] == ("Apply", "Failed", "no stress-ng here")
        assert "Failed: Failed to apply chaos: no stress-ng here" in events(cluster, "Warning")

        trouble.mend()
        await until(cluster, lambda: condition(cluster, STRESS, "x", "AllInjected"))


def record_events(cluster: Cluster, resource: Resource, name: str) -> list[tuple[str, str, str]]:
    status = cluster.api.get(resource, "default", name).object.get("status") or {}
    records = (status.get("experiment") or {}).get("containerRecords") or [{}]
    return [(e["operation"], e["type"], e.get("message", "")) for e in records[0].get("events", ())]


async def test_failing_recovery_holds_the_object_even_when_forced(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.chaos.fail("Recover", "unable to flush")
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE), "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))
        cluster.api.delete(POD_CHAOS, "default", "x")
        await until(cluster, lambda: len(record_events(cluster, POD_CHAOS, "x")) >= 2)
        forced = {"chaos-mesh.chaos-mesh.org/cleanFinalizer": "forced"}
        cluster.api.merge(POD_CHAOS, "default", "x", {"metadata": {"annotations": forced}})
        await until(cluster, lambda: len(record_events(cluster, POD_CHAOS, "x")) >= 4)

        assert cluster.api.get(POD_CHAOS, "default", "x").metadata["finalizers"] == ["chaos-mesh/records"]

        cluster.api.merge(POD_CHAOS, "default", "x", {"metadata": {"finalizers": []}})

        assert cluster.api.find(POD_CHAOS, "default", "x") is None


async def test_the_forced_annotation_frees_a_stress_chaos(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.chaos.fail("Recover", "no")
        cluster.api.create(STRESS, chaos("x", stressors={"cpu": {"workers": 1}}), "default")
        await until(cluster, lambda: condition(cluster, STRESS, "x", "AllInjected"))
        cluster.api.delete(STRESS, "default", "x")
        forced = {"chaos-mesh.chaos-mesh.org/cleanFinalizer": "forced"}
        cluster.api.merge(STRESS, "default", "x", {"metadata": {"annotations": forced}})
        await until(cluster, lambda: cluster.api.find(STRESS, "default", "x") is None)


async def test_clean_up_takes_the_finalizers_of_others_with_it(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        obj = chaos("x", **FAILURE)
        obj["metadata"]["finalizers"] = ["example.org/mine"]
        cluster.api.create(POD_CHAOS, obj, "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))
        cluster.api.delete(POD_CHAOS, "default", "x")
        await until(cluster, lambda: cluster.api.find(POD_CHAOS, "default", "x") is None)


async def test_pausing_recovers_and_unpausing_injects_the_same_records(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE), "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))
        pause = {"metadata": {"annotations": {"experiment.chaos-mesh.org/pause": "true"}}}
        cluster.api.merge(POD_CHAOS, "default", "x", pause)
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllRecovered"))

        assert condition(cluster, POD_CHAOS, "x", "Paused")

        resume = {"metadata": {"annotations": {"experiment.chaos-mesh.org/pause": None}}}
        cluster.api.merge(POD_CHAOS, "default", "x", resume)
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))

        assert record(cluster, POD_CHAOS, "x")["injectedCount"] == 2


@pytest.mark.parametrize("duration", ["0s", "-5s"])
async def test_a_duration_that_is_over_is_never_injected(running: Running, duration: str) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE, duration=duration), "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllRecovered"))

        assert record(cluster, POD_CHAOS, "x")["injectedCount"] == 0


async def test_a_stopped_controller_does_nothing_until_it_runs_again(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.chaos.stop()
        told = story(cluster, POD_CHAOS)
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE), "default")
        with pytest.raises(TimeoutError), fail_after(0.3):
            await until(cluster, lambda: len(told) > 1)
        cluster.chaos.start()
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))


async def test_a_pod_replaced_during_the_fault_recovers_without_failure(running: Running) -> None:
    async with running() as cluster:
        await deploy(cluster, replicas=1)
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE, duration="2s"), "default")
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllInjected"))
        (pod,) = cluster.api.list(PODS, "default")
        cluster.api.delete(PODS, "default", pod.name, DeleteOptions(grace=0))
        await until(cluster, lambda: condition(cluster, POD_CHAOS, "x", "AllRecovered"))

        assert [each[:2] for each in record_events(cluster, POD_CHAOS, "x")] == [
            ("Apply", "Succeeded"),
            ("Recover", "Succeeded"),
        ]
        assert events(cluster, "Warning") == []


REFUSALS = [
    (
        POD_CHAOS,
        FAILURE | {"duration": "1d"},
        (
            'admission webhook "vpodchaos.kb.io" denied the request: Spec.Duration: Invalid value: "1d": '
            'parse duration field error: time: unknown unit "d" in duration "1d"'
        ),
    ),
    (
        POD_CHAOS,
        FAILURE | {"mode": "fixed", "value": "0"},
        (
            'admission webhook "vpodchaos.kb.io" denied the request: Spec.ContainerSelector.value: '
            'Invalid value: "0": value must be greater than 0 with mode:fixed'
        ),
    ),
    (
        POD_CHAOS,
        {"action": "container-kill"},
        (
            'admission webhook "vpodchaos.kb.io" denied the request: Spec.ContainerNames: Invalid value: '
            "null: the name of container is required on container-kill action"
        ),
    ),
]


@pytest.mark.parametrize(("resource", "spec", "text"), REFUSALS)
async def test_webhooks_refuse_in_upstreams_words(
    running: Running, resource: Resource, spec: Object, text: str
) -> None:
    async with running() as cluster:
        with pytest.raises(ApiError) as refused:
            cluster.api.create(resource, chaos("x", **spec), "default")

        assert (refused.value.code, str(refused.value)) == (403, text)


async def test_a_spec_cannot_be_changed_but_metadata_can(running: Running) -> None:
    async with running() as cluster:
        cluster.chaos.stop()
        cluster.api.create(POD_CHAOS, chaos("x", **FAILURE), "default")
        cluster.api.merge(POD_CHAOS, "default", "x", {"metadata": {"labels": {"a": "b"}}})

        with pytest.raises(ApiError, match="Cannot update chaos spec"):
            cluster.api.merge(POD_CHAOS, "default", "x", {"spec": {"mode": "one"}})
