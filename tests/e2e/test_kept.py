"""Experiments that are kept (`cleanupOnFinish: false`) although their fault is on when their gate ends."""

import pytest

from tests.e2e.conftest import Ground, daemon, grounds
from tests.e2e.manifests import POD_FAILURE, Json, gate
from tests.e2e.story import Story
from tests.e2e.test_orphans import STRESS
from tests.e2e.test_spawned import as_json


def abort(story: Story) -> None:
    story.api.patch(f"{story.argo}/rollouts/web/status", {"status": {"abort": True}})
    story.until("the gate has ended", lambda: "completedAt" in (story.analysis_run().get("status") or {}))


def kept(story: Story) -> Json:
    """Return the only experiment, once it is labelled."""
    label = "chaosplugin.io/keep"
    story.until("it is kept", lambda: label in story.api.items(story.chaos)[0]["metadata"]["labels"])
    (found,) = story.api.items(story.chaos)
    return found


def until_undone(story: Story) -> None:
    def undone() -> bool:
        records = kept(story)["status"]["experiment"]["containerRecords"]
        return all(each["phase"] == "Not Injected" for each in records)

    story.until("the fault is undone", undone)


def let_go(story: Story) -> None:
    """It goes with its AnalysisRun."""
    story.api.delete(f"{story.argo}/analysisruns/{story.analysis_run()['metadata']['name']}")
    story.until_clean()


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_a_fault_that_is_on_is_undone_and_its_experiment_stays(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="60s"), timeout="90s", cleanupOnFinish=False))
    story.until_injected()

    abort(story)

    until_undone(story)
    assert kept(story)["metadata"]["annotations"]["experiment.chaos-mesh.org/pause"] == "true"
    assert story.measurement()["phase"] == "Inconclusive"
    assert len(story.experiments_created()) == 1
    let_go(story)


@pytest.mark.full
@pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
def test_a_pause_that_does_not_take_is_told_and_the_experiment_stays(ground: Ground, story: Story) -> None:
    """Somebody lets Chaos Mesh try again, once chaos-daemon is back."""
    story = Story(story.api, story.namespace, "stresschaos", patience=150)
    with daemon(ground, CancelStressors={"Error": "cannot stop it"}):
        experiment = as_json("StressChaos", **STRESS, duration="60s")
        story.begin(gate(experiment, timeout="90s", cleanupOnFinish=False))
        story.until_injected()
        abort(story)
        story.until("it is told", lambda: stuck(story))
    story.touch_experiments()

    until_undone(story)
    assert "which is kept, and whose fault is not over 60s after it was paused" in stuck(story)[0]
    let_go(story)


def stuck(story: Story) -> list[str]:
    events = story.events("Rollout")
    return [each["message"] for each in events if each["reason"] == "ExperimentStuck"]
