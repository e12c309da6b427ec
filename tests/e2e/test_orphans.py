"""What a Schedule or a Workflow has spawned, and outlived it while no plugin ran: a sweep finds it."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from tests.e2e import deployed
from tests.e2e.conftest import Ground, daemon, grounds
from tests.e2e.manifests import Json, gate
from tests.e2e.story import Story
from tests.e2e.test_spawned import EVERY_POD, as_json, schedule
from tests.realbed.api import Conflict

STRESS = {"stressors": {"cpu": {"workers": 1, "load": 10}}, **EVERY_POD}
SPAWNING: dict[str, str] = {
    "schedules": as_json(
        "Schedule", schedule="@every 5s", type="StressChaos", stressChaos=STRESS | {"duration": "60s"}
    ),
    "workflows": as_json(
        "Workflow",
        entry="stress",
        templates=[
            {"name": "stress", "templateType": "StressChaos", "deadline": "60s", "stressChaos": STRESS}
        ],
    ),
}


@pytest.fixture(autouse=True)
def everywhere(ground: Ground) -> None:
    """A sweep looks at all namespaces at once, so the right to do so is wanted."""
    for manifest in deployed.resources("cluster"):
        with suppress(Conflict):  # granted already
            deployed.create(ground.api, manifest)


@contextmanager
def without_plugins(ground: Ground) -> Iterator[None]:
    """Kill them, and hold the controller, which would start another for any gate of a test before."""
    held = [ground.argo.pid] if ground.argo else []
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in ground.plugins():
            os.kill(pid, signal.SIGKILL)
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)


def begin_another(ground: Ground, namespace: str) -> None:
    """Let the controller start a plugin, for a gate of somebody else that needs not be right."""
    ground.make_namespace(namespace)
    Story(ground.api, namespace).begin(gate("nonsense"))


def until_alone(stories: Sequence[Story]) -> None:
    """Wait until only what was spawned is left of these gates."""
    for story in stories:
        story.until("those who knew are gone", partial(_alone, story))
        assert [each for path in story.paths for each in story.api.items(path)]


def _alone(story: Story) -> bool:
    return not story.api.items(story.chaos) and not story.analysis_runs()


def _forget(story: Story) -> None:
    """Delete the Rollout and its analysis, but not the pods: with those the fault would be undone."""
    story.api.delete(f"{story.argo}/rollouts/web", {"propagationPolicy": "Orphan"})
    story.until("the Rollout is gone", lambda: not story.api.items(f"{story.argo}/rollouts"))
    for run in story.analysis_runs():
        story.api.delete(f"{story.argo}/analysisruns/{run['metadata']['name']}")


def _stuck(story: Story) -> bool:
    """Tell whether all that was spawned is deleted, told to stop, and held by its finalizer."""
    left = [each for path in story.paths for each in story.api.items(path)]
    return bool(left) and all(
        each["metadata"].get("deletionTimestamp")
        and each["metadata"].get("finalizers")
        and each["status"]["experiment"]["desiredPhase"] == "Stop"
        for each in left
    )


def _phases(experiment: Json) -> set[str]:
    return {record["phase"] for record in experiment["status"]["experiment"]["containerRecords"]}


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_what_was_orphaned_is_deleted_by_the_next_sweep(ground: Ground, story: Story) -> None:
    """Somebody deletes a Schedule, and not what it has fired (`kubectl delete --cascade=orphan`)."""
    story = Story(story.api, story.namespace, "schedules", ("podchaos",), patience=120)
    story.begin(gate(schedule(every="5s", duration="60s"), timeout="150s"))
    story.until_injected()
    with without_plugins(ground):
        (fired_by,) = story.api.items(story.chaos)
        for path in story.paths:
            for fired in story.api.items(
                path
            ):  # else it is left to the garbage collector, which may be behind
                story.api.patch(
                    f"{path}/{fired['metadata']['name']}", {"metadata": {"ownerReferences": None}}
                )
        story.api.delete(f"{story.chaos}/{fired_by['metadata']['name']}", {"propagationPolicy": "Orphan"})
        story.api.delete(f"{story.argo}/rollouts/web")
        until_alone([story])

    begin_another(ground, f"{story.namespace}-other")

    story.until_clean()
    assert len(story.experiments_created()) == len(story.spawned()) == 1


@pytest.mark.full
@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_what_is_stuck_when_all_that_knew_of_it_is_gone_is_forced(ground: Ground, story: Story) -> None:
    """chaos-daemon cannot undo it, and the operator lets finalizers be removed."""
    stories = []
    with daemon(ground, CancelStressors={"Error": "cannot stop it"}):
        for plural, experiment in SPAWNING.items():
            namespace = f"{story.namespace}-{plural}"
            ground.make_namespace(namespace)
            stories.append(Story(story.api, namespace, plural, ("stresschaos",), patience=200))
            stories[-1].begin(gate(experiment, timeout="150s"))
        for each in stories:
            each.until_injected()
        with without_plugins(ground):
            for each in stories:
                _forget(each)
            until_alone(stories)
            for each in stories:
                each.until("what was spawned is stuck", partial(_stuck, each))

        begin_another(ground, f"{story.namespace}-other")

        for each in stories:
            each.until_clean()
            assert len(each.experiments_created()) == len(each.spawned()) == 1
            (forced,) = each.departed()
            assert _phases(forced) == {"Injected"}, "it was undone, so nothing was to be forced"
