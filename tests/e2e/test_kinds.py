"""Every kind that the bed can play is injected, recovered and judged."""

import json

import pytest

from tests.e2e.conftest import Ground, daemon, grounds
from tests.e2e.manifests import CANARY_REPLICAS, gate
from tests.e2e.story import Story

pytestmark = pytest.mark.full

_SPECS: dict[str, dict[str, object]] = {
    "NetworkChaos": {"action": "delay", "delay": {"latency": "10ms"}},
    "StressChaos": {"stressors": {"cpu": {"workers": 1, "load": 10}}},
    "IOChaos": {"action": "latency", "volumePath": "/data", "delay": "10ms", "percent": 50},
    "TimeChaos": {"timeOffset": "-10m"},
    "HTTPChaos": {"target": "Request", "port": 80, "path": "*", "delay": "10ms"},
}


def _template(kind: str, **spec: object) -> str:
    """Return an experiment as JSON, which is YAML."""
    whole = {**_SPECS[kind], "mode": "all", "duration": "3s", **spec}
    experiment = {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": {"name": "gate"}}
    return json.dumps({**experiment, "spec": whole})


def _story(ground: Ground, story: Story, kind: str) -> Story:
    return Story(ground.api, story.namespace, plural=kind.lower())


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
@pytest.mark.parametrize("kind", _SPECS)
def test_a_canary_that_bears_the_fault_is_promoted(ground: Ground, story: Story, kind: str) -> None:
    story = _story(ground, story, kind)
    story.begin(gate(_template(kind), timeout="60s"))
    story.until_promoted()
    story.until_clean()

    measurement = story.measurement()
    assert measurement["phase"] == "Successful"
    assert json.loads(measurement["value"])["injected"] == CANARY_REPLICAS
    assert len(story.experiments_created()) == 1


@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_a_fault_that_cannot_be_injected_pauses_the_rollout(ground: Ground, story: Story) -> None:
    story = _story(ground, story, "StressChaos")
    with daemon(ground, ExecStressors={"Error": "no stress-ng here"}):
        story.begin(gate(_template("StressChaos"), timeout="20s"))
        story.until_paused()
        story.until_clean()

    assert story.measurement()["phase"] == "Inconclusive"
    assert story.measurement()["message"].startswith("NotInjected: ")
    assert "no stress-ng here" in story.measurement()["message"]


@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_a_fault_that_does_not_end_aborts_the_rollout(ground: Ground, story: Story) -> None:
    story = _story(ground, story, "StressChaos")
    with daemon(ground, CancelStressors={"Error": "cannot stop it"}):
        story.begin(gate(_template("StressChaos"), timeout="20s"))
        story.until_aborted()
    left = len(story.api.items(story.chaos))
    story.touch_experiments()
    story.until_clean()

    assert left == 1
    assert story.measurement()["phase"] == "Failed"
    assert story.message().count("NotRecovered: ") == 1


@pytest.mark.parametrize("ground", grounds("real"), indirect=True)
def test_a_controller_that_is_killed_during_the_fault_finds_its_verdict(ground: Ground, story: Story) -> None:
    assert ground.argo is not None
    story = _story(ground, story, "StressChaos")
    story.begin(gate(_template("StressChaos", duration="5s"), timeout="60s"))
    story.until_injected()
    ground.argo.stop(kill=True)
    ground.argo.start()
    story.until_promoted()
    story.until_clean()

    assert story.measurement()["phase"] == "Successful"
    assert len(story.experiments_created()) == 1
