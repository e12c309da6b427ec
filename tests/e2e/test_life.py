"""What people do to a Rollout while its gate runs, and what they see of it, on the real control plane."""

import subprocess
from functools import partial

import pytest

from tests.e2e.conftest import Ground, daemon, grounds
from tests.e2e.manifests import POD_FAILURE, Json, gate, next_version
from tests.e2e.story import Story
from tests.realbed import build
from tests.realbed.api import NotFound

_REAL = pytest.mark.parametrize("ground", grounds("real-v1.10"), indirect=True)
_STRESS = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: StressChaos
metadata:
  name: gate
spec:
  mode: all
  duration: 3s
  stressors: {cpu: {workers: 1, load: 10}}
"""


def _another_version(image: str) -> Json:
    change = next_version()
    change["spec"]["template"]["spec"]["containers"][0]["image"] = image
    return change


def _ended(run: Json) -> bool:
    return "completedAt" in (run.get("status") or {})


@_REAL
def test_a_second_update_ends_the_gate_and_begins_its_own(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="8s"), timeout="60s"))
    story.until_injected()

    story.api.patch(f"{story.argo}/rollouts/web", _another_version("web:3"))

    story.until_promoted()
    story.until_clean()
    phases = sorted(run["status"]["phase"] for run in story.analysis_runs())
    assert phases == ["Inconclusive", "Successful"]
    assert len(story.experiments_created()) == 2


@_REAL
def test_a_rollback_ends_the_gate_and_leaves_nothing(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="8s"), timeout="60s"))
    story.until_injected()

    story.api.patch(f"{story.argo}/rollouts/web", _another_version("web:1"))

    story.until("the gate has ended", lambda: _ended(story.analysis_run()))
    story.until_clean()
    story.until("the first version is back", lambda: story.phase() == "Healthy")
    assert story.measurement()["phase"] == "Inconclusive"
    assert len(story.experiments_created()) == 1


@_REAL
def test_a_deleted_namespace_is_not_held_up_by_a_gate(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="8s"), timeout="60s"))
    story.until_injected()

    story.api.delete(f"/api/v1/namespaces/{story.namespace}")

    story.until("the namespace is gone", lambda: _gone(story))


def _gone(story: Story) -> bool:
    try:
        story.api.get(f"/api/v1/namespaces/{story.namespace}")
    except NotFound:
        return True
    return False


@pytest.mark.full
@_REAL
def test_a_fault_that_cannot_be_undone_is_forced_where_the_operator_allows_it(
    ground: Ground, story: Story
) -> None:
    story = Story(story.api, story.namespace, plural="stresschaos", patience=150)
    with daemon(ground, CancelStressors={"Error": "cannot stop it"}):
        story.begin(gate(_STRESS, timeout="15s"))
        story.until_aborted()
        story.until_clean()

    assert story.message().count("NotRecovered: ") == 1
    way = {"ExperimentStuck", "FinalizersRemoved", "ExperimentDeleted"}
    # a watch may tell of the deletion before the answer to what caused it has come
    story.until("the Rollout shows its way", lambda: set(_reasons(story, "Rollout")[-3:]) == way)


@pytest.mark.parametrize("ground", grounds("v1.10"), indirect=True)
def test_people_see_the_gates_way_at_analysis_run_and_rollout(story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="3s"), timeout="60s"))
    story.until_promoted()
    story.until_clean()

    way = ["GateStarted", "FaultInjected", "FaultRecovered", "GatePassed", "ExperimentDeleted"]
    for kind in ("AnalysisRun", "Rollout"):
        story.until(f"the {kind} shows its way", partial(_shows, story, kind, way))
    assert story.measurement()["message"] in story.events("Rollout")[3]["message"]


@_REAL
def test_kubectl_argo_rollouts_shows_why_a_canary_was_aborted(ground: Ground, story: Story) -> None:
    story.begin(gate(POD_FAILURE.format(duration="5s"), timeout="60s", steadyState={"recoverWithin": "4s"}))
    story.until_injected()
    story.keep_canary_down()
    story.until_aborted()

    lines = _kubectl_argo_rollouts(ground, "get", "rollout", "web", "--no-color", "-n", story.namespace)
    (message,) = (line for line in lines if line.startswith("Message:"))
    assert story.measurement()["message"] in message
    (run,) = (line for line in lines if " AnalysisRun " in line)
    assert f"{story.analysis_run()['metadata']['name']} " in run
    assert "Failed" in run


def _kubectl_argo_rollouts(ground: Ground, *arguments: str) -> list[str]:
    """Run upstream's kubectl plugin, and return what a person reads."""
    program = str(build.cache() / "bin" / "kubectl-argo-rollouts")
    command = [program, *arguments, "--kubeconfig", str(ground.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def _shows(story: Story, kind: str, way: list[str]) -> bool:
    return _reasons(story, kind) == way


def _reasons(story: Story, kind: str) -> list[str]:
    return [each["reason"] for each in story.events(kind)]
