"""What happens to a canary meanwhile, and which of it is its own: told side by side, each on a sandbox."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.resources import Object
from tests.provider.gate import HASH, LABEL, NAMESPACE, Gate, config, gate, podchaos

SURVIVED = (Phase.SUCCESSFUL, "Survived")
BROKEN = (Phase.FAILED, "SteadyStateBroken")
Story = Callable[[Gate], Awaitable[None]]
Meddle = Callable[[Gate], Awaitable[None]]


def stress(duration: str = "3s", **steady: object) -> Object:
    """Return the configuration of a fault under which pods stay Ready."""
    spec = {"mode": "all", "duration": duration, "selector": {}, "stressors": {"cpu": {"workers": 1}}}
    kind = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": "StressChaos", "metadata": {"name": "busy"}}
    return config({**kind, "spec": spec}, **({"steadyState": steady} if steady else {}))


def canary(bed: Gate) -> list[Object]:
    return [pod for pod in bed.pods if pod["metadata"]["labels"][LABEL] == HASH]


def ready(bed: Gate) -> int:
    conditions = [each for pod in canary(bed) for each in pod["status"].get("conditions") or ()]
    return sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def scale(bed: Gate, replicas: int) -> None:
    """Do as an HPA does, which scales the Rollout, whose controller scales the ReplicaSet."""
    change = {"spec": {"replicas": replicas}}
    bed.cluster.api.merge(resources.REPLICA_SETS, NAMESPACE, f"web-{HASH}", change)


async def judged(
    bed: Gate, configuration: Object, meddle: Meddle | None = None, *, when: str = "injected", pods: int = 2
) -> Measurement:
    """Judge a canary of so many pods, and let somebody meddle at a stage or once the fault is on."""
    bed.deploy(pods)

    async def at_last() -> None:
        if meddle is not None:
            await bed.heard(lambda: stage_reached(bed, when))
            await meddle(bed)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(at_last)
        answers = [await bed.judge(bed.analysis_run(), configuration)]
    return answers[0]


def stage_reached(bed: Gate, when: str) -> bool:
    if when != "injected":
        return when in bed.stages
    runs = bed.provider._registry.runs.values()
    return any(run.fault is not None and run.fault.complete for run in runs)


def shown(answer: Measurement) -> tuple[Phase, str]:
    return answer.phase, answer.message.partition(":")[0]


async def a_canary_of_one_pod(bed: Gate) -> None:
    answer = await judged(bed, config(), pods=1)

    assert shown(answer) == SURVIVED, answer.message
    assert json.loads(answer.value)["targets"] == 1


async def a_canary_of_fifty_pods(bed: Gate) -> None:
    answer = await judged(bed, config(podchaos("pod-kill")), pods=50)

    assert shown(answer) == SURVIVED, answer.message
    figures = json.loads(answer.value)
    assert (figures["targets"], figures["injected"]) == (50, 50)


async def a_pod_replaced_meanwhile_breaks_the_state(bed: Gate) -> None:
    answer = await judged(bed, stress("6s"), delete_a_pod)

    assert shown(answer) == BROKEN, answer.message
    assert "pods Ready, 2 wanted" in answer.message or "2 were wanted Ready all the time" in answer.message


async def a_pod_that_is_down_for_a_moment_breaks_the_state(bed: Gate) -> None:
    """It is Ready again before anybody can have read that it was not."""

    async def blink(bed: Gate) -> None:
        await anyio.sleep(1.1)  # Kubernetes tells times to the second
        name = canary(bed)[0]["metadata"]["name"]
        for word in ("false", "true"):
            change = {"metadata": {"annotations": {"sandbox.chaosplugin.io/ready": word}}}
            bed.cluster.api.merge(resources.PODS, NAMESPACE, name, change)
            await bed.until(lambda word=word: ready(bed) == (2 if word == "true" else 1))

    answer = await judged(bed, stress("6s"), blink)

    assert shown(answer) == BROKEN, answer.message


async def a_pod_replaced_meanwhile_is_borne_where_it_is_allowed(bed: Gate) -> None:
    answer = await judged(bed, stress("3s", minReady="50%"), delete_a_pod)

    assert shown(answer) == SURVIVED, answer.message
    assert json.loads(answer.value)["minReady"] == 1


async def delete_a_pod(bed: Gate) -> None:
    pod = canary(bed)[0]
    bed.cluster.api.delete(resources.PODS, NAMESPACE, pod["metadata"]["name"])


async def a_canary_scaled_down_meanwhile_has_lost_nothing(bed: Gate) -> None:
    async def shrink(bed: Gate) -> None:
        scale(bed, 2)

    answer = await judged(bed, stress(), shrink, pods=4)

    assert shown(answer) == SURVIVED, answer.message


async def a_canary_scaled_up_meanwhile_survives(bed: Gate) -> None:
    async def grow(bed: Gate) -> None:
        scale(bed, 5)

    answer = await judged(bed, stress(), grow)

    assert shown(answer) == SURVIVED, answer.message
    assert json.loads(answer.value)["targets"] == 2


async def a_canary_that_falls_over_after_its_recovery_has_not_survived(bed: Gate) -> None:
    """All pods are Ready after the fault, and 3 s later they are not."""

    async def fall_over(bed: Gate) -> None:
        await bed.until(lambda: ready(bed) == 2)
        await anyio.sleep(3)  # the claim is about this time
        for pod in canary(bed):
            down = {"metadata": {"annotations": {"sandbox.chaosplugin.io/ready": "false"}}}
            bed.cluster.api.merge(resources.PODS, NAMESPACE, pod["metadata"]["name"], down)

    answer = await judged(bed, config(steadyState={"recoverWithin": "6s"}), fall_over, when="recovering")

    assert shown(answer) == BROKEN, answer.message
    assert "0 of 2 pods Ready 6s after the fault" in answer.message


async def a_restart_that_is_not_the_faults_breaks_the_state(bed: Gate) -> None:
    answer = await judged(bed, stress("6s", minReady=0), restart)

    assert shown(answer) == BROKEN, answer.message
    assert "1 container restarts of the canary beyond those of the fault itself" in answer.message


async def a_restart_is_borne_where_it_is_allowed(bed: Gate) -> None:
    answer = await judged(bed, stress("3s", minReady=0, maxRestarts=1), restart)

    assert shown(answer) == SURVIVED, answer.message


async def restart(bed: Gate) -> None:
    bed.cluster.kubelet.restart(NAMESPACE, canary(bed)[0]["metadata"]["name"], "web")


async def pods_that_ran_to_their_end_are_neither_targets_nor_missing(bed: Gate) -> None:
    bed.deploy(2)
    await bed.until(lambda: ready(bed) == 2)
    gone = canary(bed)[0]["metadata"]["name"]
    ended = {"status": {"phase": "Failed", "reason": "Evicted"}}
    bed.cluster.api.merge(resources.PODS, NAMESPACE, gone, ended, "status")
    await bed.until(lambda: len(canary(bed)) == 3)

    answer = await bed.judge(bed.analysis_run(), config())

    assert shown(answer) == SURVIVED, answer.message
    assert json.loads(answer.value)["targets"] == 2


async def what_is_unready_by_intent_breaks_nothing_while_the_fault_is_on(bed: Gate) -> None:
    answer = await judged(bed, config(podchaos("pod-failure", mode="one", duration="2s")))

    assert shown(answer) == SURVIVED, answer.message
    assert json.loads(answer.value)["minReady"] == 1


STORIES: tuple[Story, ...] = (
    a_canary_of_one_pod,
    a_canary_of_fifty_pods,
    a_pod_replaced_meanwhile_breaks_the_state,
    a_pod_that_is_down_for_a_moment_breaks_the_state,
    a_pod_replaced_meanwhile_is_borne_where_it_is_allowed,
    a_canary_scaled_down_meanwhile_has_lost_nothing,
    a_canary_scaled_up_meanwhile_survives,
    a_canary_that_falls_over_after_its_recovery_has_not_survived,
    a_restart_that_is_not_the_faults_breaks_the_state,
    a_restart_is_borne_where_it_is_allowed,
    pods_that_ran_to_their_end_are_neither_targets_nor_missing,
    what_is_unready_by_intent_breaks_nothing_while_the_fault_is_on,
)


async def test_the_canary_is_judged_by_what_is_its_own(tmp_path: Path) -> None:
    problems: list[str] = []

    async def tell(story: Story) -> None:
        folder = tmp_path / story.__name__[:60]
        folder.mkdir()
        try:
            async with gate(folder) as bed:
                try:
                    await story(bed)
                except AssertionError as error:  # the other stories go on
                    problems.append(f"{story.__name__}: {error}")
        except* TimeoutError as error:
            problems.append(f"{story.__name__}: {error}")

    async with anyio.create_task_group() as tasks:
        for story in STORIES:
            tasks.start_soon(tell, story)
    assert not problems, "\n".join(problems)
