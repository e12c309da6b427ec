"""Experiments that are kept (`cleanupOnFinish: false`) although their fault is on when their gate ends."""

import pytest

from tests.e2e.conftest import grounds
from tests.e2e.manifests import POD_FAILURE, Json, gate
from tests.e2e.story import Story


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
