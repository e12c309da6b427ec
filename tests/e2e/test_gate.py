"""Argo Rollouts asks, the plugin injects through Chaos Mesh, the canary is promoted or aborted."""

import json
import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Ground, grounds
from tests.e2e.manifests import CANARY_REPLICAS, NAMES_PODS, POD_FAILURE, POD_KILL, gate, retried
from tests.e2e.story import Story, image_names, restarts


def test_a_canary_that_survives_pod_failure_is_promoted(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="3s"), timeout="60s"))
    story.until_injected()
    stable = story.stable_pods()
    hit = restarts(story.canary_pods())
    story.until_promoted()
    story.until_clean()

    measurement = story.measurement()
    assert measurement["phase"] == "Successful"
    assert measurement["message"].startswith("Survived: ")
    assert json.loads(measurement["value"])["injected"] == CANARY_REPLICAS
    assert hit == [1] * CANARY_REPLICAS
    assert restarts(stable) == [0] * len(stable)
    assert len(story.experiments_created()) == 1
    assert image_names(story.canary_pods()) == {"web:2"}


def test_a_canary_that_does_not_come_back_is_aborted_with_the_reason(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="5s"), timeout="60s", steadyState={"recoverWithin": "4s"}))
    story.until_injected()
    story.keep_canary_down()
    story.until_aborted()
    story.until_clean()

    assert story.measurement()["phase"] == "Failed"
    assert "SteadyStateBroken: " in story.message()
    assert story.measurement()["message"] in story.message()
    assert len(story.experiments_created()) == 1


def test_a_canary_that_survives_pod_kill_is_promoted(story: Story) -> None:
    story.begin(gate(POD_KILL, timeout="60s"))
    story.until_promoted()
    story.until_clean()

    measurement = story.measurement()
    assert measurement["phase"] == "Successful"
    assert json.loads(measurement["value"])["injected"] == 1
    assert len(story.experiments_created()) == 1


def test_a_template_that_names_pods_is_refused_and_creates_nothing(story: Story) -> None:
    story.begin(gate(NAMES_PODS))
    story.until_aborted()
    story.until_clean()

    assert story.measurement()["phase"] == "Error"
    assert "ScopeRefused: " in story.message()
    assert "selector.pods" in story.message()
    assert story.experiments_created() == []


def test_a_plugin_that_is_killed_during_the_fault_judges_it_all_the_same(
    story: Story, ground: Ground
) -> None:
    """Argo takes the death for an Error where it pings before it has seen the process end."""
    story.begin(retried(gate(POD_FAILURE.format(duration="5s"), timeout="60s")))
    story.until_injected()
    pids = ground.plugins()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    # asked before it has noticed, the controller makes an Error of it, which is final here
    story.until("the death was noticed", lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    story.touch_analysis_run()
    story.until_promoted()
    story.until_clean()

    assert story.last_measurement()["phase"] == "Successful"
    assert len(story.experiments_created()) == 1


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_without_rights_the_canary_is_aborted_and_told_what_is_missing(unprivileged: Story) -> None:
    unprivileged.begin(gate(POD_FAILURE.format(duration="3s")))
    unprivileged.until_aborted()

    assert unprivileged.measurement()["phase"] == "Error"
    assert "Denied: " in unprivileged.message()
    assert "podchaos" in unprivileged.message()
    assert unprivileged.experiments_created() == []
