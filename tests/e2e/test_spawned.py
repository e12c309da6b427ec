"""Schedules and Workflows: what they spawn is injected, followed, judged and removed."""

import json
import os
import signal

import pytest

from tests.e2e.conftest import Ground, grounds
from tests.e2e.manifests import CANARY_REPLICAS, Json, gate, retried
from tests.e2e.story import Story

EVERY_POD = {"mode": "all", "selector": {}}
V1 = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata:
  name: pod-kill-experiment
spec:
  action: pod-kill
  mode: one
  selector: {}
  scheduler:
    cron: "@every 4s"
  duration: "10s"
"""


def as_json(kind: str, **spec: object) -> str:
    """Return an object of Chaos Mesh as JSON, which is YAML."""
    whole = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": {"name": "gate"}}
    return json.dumps({**whole, "spec": spec})


def schedule(every: str = "5s", duration: str = "2s") -> str:
    pod_chaos = {"action": "pod-failure", "duration": duration, **EVERY_POD}
    return as_json("Schedule", schedule=f"@every {every}", type="PodChaos", podChaos=pod_chaos)


def workflow() -> str:
    delay = {"action": "delay", "delay": {"latency": "10ms"}, **EVERY_POD}
    stress = {"stressors": {"cpu": {"workers": 1, "load": 10}}, "duration": "1s", **EVERY_POD}
    repeated = {"schedule": "@every 2s", "type": "StressChaos", "stressChaos": stress}
    templates: list[Json] = [
        {"name": "all", "templateType": "Serial", "children": ["fail", "rest", "both"]},
        {
            "name": "fail",
            "templateType": "PodChaos",
            "deadline": "3s",
            "podChaos": {"action": "pod-failure", **EVERY_POD},
        },
        {"name": "rest", "templateType": "Suspend", "deadline": "4s"},
        {"name": "both", "templateType": "Parallel", "children": ["slow", "again"]},
        {"name": "slow", "templateType": "NetworkChaos", "deadline": "3s", "networkChaos": delay},
        {"name": "again", "templateType": "Schedule", "deadline": "7s", "schedule": repeated},
    ]
    return as_json("Workflow", entry="all", templates=templates)


@pytest.fixture
def scheduled(ground: Ground, story: Story) -> Story:
    return Story(ground.api, story.namespace, "schedules", ("podchaos",))


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_the_scheduler_of_chaos_mesh_1_kills_a_pod_again_and_again(scheduled: Story) -> None:
    scheduled.begin(gate(V1, timeout="60s"))
    scheduled.until_promoted()
    scheduled.until_clean()

    measurement = scheduled.measurement()
    assert measurement["phase"] == "Successful", measurement
    assert "2 firings, 2 targets hit" in measurement["message"]
    assert len(scheduled.experiments_created()) == 1
    assert len(scheduled.spawned()) == 2


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_a_schedule_whose_canary_does_not_come_back_is_ended_at_once(scheduled: Story) -> None:
    scheduled.begin(
        gate(schedule(every="10s"), timeout="90s", scheduleFor="60s", steadyState={"recoverWithin": "3s"})
    )
    scheduled.until_injected()
    scheduled.keep_canary_down()
    scheduled.until_aborted()
    scheduled.until_clean()

    measurement = scheduled.measurement()
    assert measurement["phase"] == "Failed", measurement
    assert "SteadyStateBroken: " in measurement["message"]
    assert json.loads(measurement["value"])["seconds"] < 30
    assert len(scheduled.experiments_created()) == 1


@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_a_plugin_that_is_killed_in_the_window_judges_all_firings(scheduled: Story, ground: Ground) -> None:
    """Argo may take the death for an Error, and asks again for the same measurement."""
    scheduled.begin(retried(gate(schedule(), timeout="60s", scheduleFor="18s")))
    scheduled.until_injected()
    for pid in ground.plugins():
        os.kill(pid, signal.SIGKILL)
    scheduled.touch_analysis_run()
    scheduled.until_promoted()
    scheduled.until_clean()

    measurement = scheduled.last_measurement()
    value = json.loads(measurement["value"])
    assert measurement["phase"] == "Successful", measurement
    assert len(scheduled.experiments_created()) == 1
    assert len(scheduled.spawned()) >= 3
    assert value["targets"] == value["injected"] == CANARY_REPLICAS * len(scheduled.spawned())


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_an_aborted_rollout_ends_a_schedule_and_what_it_has_spawned(scheduled: Story) -> None:
    scheduled.begin(gate(schedule(duration="20s"), timeout="90s"))
    scheduled.until_injected()
    scheduled.api.patch(f"{scheduled.argo}/rollouts/web/status", {"status": {"abort": True}})
    scheduled.until_clean()

    assert len(scheduled.spawned()) == 1


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_a_workflow_of_all_sorts_is_judged_as_one_fault(ground: Ground, story: Story) -> None:
    spawned = ("podchaos", "networkchaos", "stresschaos", "schedules", "workflownodes")
    story = Story(ground.api, story.namespace, "workflows", spawned)
    story.begin(gate(workflow(), timeout="60s"))
    story.until_promoted()
    story.until_clean()

    measurement = story.measurement()
    assert measurement["phase"] == "Successful", measurement
    assert "5 faults, 10 targets hit" in measurement["message"]
    assert len(story.experiments_created()) == 1


@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_a_step_that_ends_while_the_plugin_is_dead_is_judged_by_its_events(
    ground: Ground, story: Story
) -> None:
    fail = {"action": "pod-failure", **EVERY_POD}
    templates: list[Json] = [
        {"name": "all", "templateType": "Serial", "children": ["fail", "rest", "fail"]},
        {"name": "fail", "templateType": "PodChaos", "deadline": "3s", "podChaos": fail},
        {"name": "rest", "templateType": "Suspend", "deadline": "6s"},
    ]
    story = Story(ground.api, story.namespace, "workflows", ("podchaos", "workflownodes"))
    story.begin(retried(gate(as_json("Workflow", entry="all", templates=templates), timeout="60s")))
    story.until_injected()
    for pid in ground.plugins():
        os.kill(pid, signal.SIGKILL)
    podchaos = story.chaos.replace("workflows", "podchaos")
    story.until("the first step is over", lambda: not story.api.items(podchaos))
    story.touch_analysis_run()
    story.until_promoted()
    story.until_clean()

    measurement = story.last_measurement()
    assert measurement["phase"] == "Successful", measurement
    assert "2 faults, 4 targets hit" in measurement["message"]
    assert len(story.experiments_created()) == 1
