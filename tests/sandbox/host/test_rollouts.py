"""A canary by steps, as the real controller takes it."""

from typing import Any

import pytest

from chaosplugin.sandbox.api.faults import where
from chaosplugin.sandbox.api.resources import (
    ANALYSIS_RUNS,
    CLUSTER_ANALYSIS_TEMPLATES,
    EXPERIMENTS,
    REPLICA_SETS,
    ROLLOUTS,
    Object,
)
from chaosplugin.sandbox.host.objects import HASH_LABEL
from tests.sandbox.bed import until
from tests.sandbox.host.conftest import Staging
from tests.sandbox.host.scripted import Script, always, ended
from tests.sandbox.host.stage import ANALYSIS, METRIC, Stage

UNREADY = {"sandbox.chaosplugin.io/ready": "false"}
GOOD = always(ended("Successful"))


async def first_version(stage: Stage, *steps: Object, **more: Any) -> None:
    stage.template()
    stage.rollout(*steps, **more)
    await stage.healthy("i:1")


async def test_a_first_version_is_stable_from_its_first_status_and_not_analysed(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.template()
        stage.rollout({"setWeight": 20}, ANALYSIS)
        await until(stage.cluster, lambda: stage.web().get("stableRS"))
        status = stage.web()
        await stage.healthy("i:1")

        assert status["stableRS"] == status["currentPodHash"]
        assert stage.all(ANALYSIS_RUNS) == []
        assert stage.pods("i:1") == 5


async def test_a_canary_of_twenty_per_cent_is_one_pod_of_five(staged: Staging) -> None:
    async with staged(Script()) as stage:
        await first_version(stage, {"setWeight": 20}, {"pause": {}})
        stage.update("i:2")
        await stage.becomes("Paused", "CanaryPauseStep")

        assert (stage.pods("i:1"), stage.pods("i:2")) == (4, 1)
        assert stage.web()["currentPodHash"] != stage.web()["stableRS"]


async def test_a_canary_that_passes_is_promoted(staged: Staging) -> None:
    async with staged(Script(GOOD)) as stage:
        steps = ({"setWeight": 20}, ANALYSIS, {"pause": {"duration": "1s"}}, {"setWeight": 60})
        await first_version(stage, *steps)
        stage.update("i:2")
        status = await stage.healthy("i:2")

        assert status["stableRS"] == status["currentPodHash"]
        assert status["currentStepIndex"] == 4
        assert (stage.pods("i:1"), stage.pods("i:2")) == (0, 5)


async def test_the_run_of_a_step_bears_the_marks_of_its_canary(staged: Staging) -> None:
    async with staged(Script()) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        run = await stage.gate()

        hash_ = stage.web()["currentPodHash"]
        assert run["metadata"]["name"] == f"web-{hash_}-2-1"
        assert run["metadata"]["labels"] == {
            "app": "web",
            "rollout-type": "Step",
            HASH_LABEL: hash_,
            "step-index": "1",
        }
        assert run["metadata"]["annotations"] == {"rollout.argoproj.io/revision": "2"}
        (owner,) = run["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["controller"], owner["blockOwnerDeletion"]) == ("Rollout", True, True)
        assert run["spec"]["args"] == [{"name": "hash", "value": hash_}]


async def test_a_replica_set_is_named_and_owned_as_argo_does(staged: Staging) -> None:
    async with staged(Script()) as stage:
        await first_version(stage, {"setWeight": 20})
        (replica_set,) = stage.all(REPLICA_SETS)

        hash_ = stage.web()["currentPodHash"]
        assert replica_set["metadata"]["name"] == f"web-{hash_}"
        assert replica_set["metadata"]["labels"][HASH_LABEL] == hash_
        assert replica_set["spec"]["selector"]["matchLabels"][HASH_LABEL] == hash_
        assert (
            replica_set["metadata"]["ownerReferences"][0]["uid"]
            == stage.get(ROLLOUTS, "web")["metadata"]["uid"]
        )


async def test_a_canary_that_fails_is_aborted_with_the_plugins_reason(staged: Staging) -> None:
    async with staged(Script(always(ended("Failed", "2 of 2 pods did not come back")))) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        await stage.becomes("Degraded")
        await until(stage.cluster, lambda: stage.pods("i:2") == 0)

        assert stage.web()["message"] == (
            "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase error/failed: "
            'Metric "chaos" assessed Failed due to failed (1) > failureLimit (0): '
            '"Error Message: 2 of 2 pods did not come back"'
        )
        assert stage.pods("i:1") == 5
        assert stage.web()["currentStepIndex"] == 0


async def test_an_inconclusive_gate_waits_for_a_person_and_is_taken_again(staged: Staging) -> None:
    script = Script(always(ended("Inconclusive")))
    async with staged(script) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        await stage.becomes("Paused", "InconclusiveAnalysisRun")
        script.run_ = GOOD
        stage.status({"pauseConditions": None})
        await stage.healthy("i:2")

        names = sorted(run["metadata"]["name"] for run in stage.all(ANALYSIS_RUNS))
        assert names[1] == f"{names[0]}.1"


async def test_a_newer_template_terminates_the_gate(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        await script.wait(lambda script: script.of("Resume"))
        stage.update("i:3")
        await script.wait(lambda script: script.of("Terminate"))
        run = await stage.gate(2)

        assert run["metadata"]["name"].endswith("-3-1")
        await until(stage.cluster, lambda: stage.pods("i:2") == 0)


async def test_going_back_to_stable_ends_the_gate_and_begins_none(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        await script.wait(lambda script: script.of("Resume"))
        stage.update("i:1")
        await script.wait(lambda script: script.of("Terminate"))
        await stage.healthy("i:1")

        assert len(stage.all(ANALYSIS_RUNS)) == 1


async def test_an_abort_by_hand_terminates_the_gate_and_a_retry_begins_another(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        await script.wait(lambda script: script.of("Resume"))
        stage.status({"abort": True})
        await script.wait(lambda script: script.of("Terminate"))
        status = await stage.becomes("Degraded")
        await until(stage.cluster, lambda: stage.pods("i:2") == 0)

        assert status["message"] == "RolloutAborted: Rollout aborted update to revision 2"

        script.run_ = GOOD
        stage.status({"abort": None, "abortedAt": None})
        await stage.healthy("i:2")

        assert len(stage.all(ANALYSIS_RUNS)) == 2


async def test_a_full_promotion_skips_the_gate(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        stage.update("i:2")
        await script.wait(lambda script: script.of("Resume"))
        stage.status({"promoteFull": True})
        await stage.healthy("i:2")

        assert script.of("Terminate")
        assert "promoteFull" not in stage.web()


async def test_a_rollout_of_one_pod_has_one_of_each_during_its_steps(staged: Staging) -> None:
    async with staged(Script()) as stage:
        await first_version(stage, {"setWeight": 20}, {"pause": {}}, replicas=1)
        stage.update("i:2")
        await stage.becomes("Paused")

        assert (stage.pods("i:1"), stage.pods("i:2")) == (1, 1)


async def test_a_canary_that_never_gets_ready_leaves_stable_alone(staged: Staging) -> None:
    async with staged(Script()) as stage:
        await first_version(stage, {"setWeight": 50}, {"pause": {}})
        stage.update("i:2", **UNREADY)
        await until(stage.cluster, lambda: stage.pods("i:2") >= 2)

        assert stage.pods("i:1") >= 4
        stage.status({"abort": True})
        await until(stage.cluster, lambda: (stage.pods("i:1"), stage.pods("i:2")) == (5, 0))


async def test_a_missing_template_is_said_in_the_rollout(staged: Staging) -> None:
    async with staged(Script()) as stage:
        stage.rollout(ANALYSIS)
        await stage.healthy("i:1")
        stage.update("i:2")
        status = await stage.becomes("Degraded")

        assert status["message"] == 'InvalidSpec: analysistemplate.argoproj.io "gate" not found'


async def test_a_background_analysis_runs_beside_the_steps(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        background = ANALYSIS["analysis"] | {"startingStep": 1}
        steps: tuple[Object, ...] = ({"setWeight": 20}, {"setWeight": 40}, {"pause": {}})
        await first_version(stage, *steps, analysis=background)
        stage.update("i:2")
        run = await stage.gate()

        assert run["metadata"]["labels"]["rollout-type"] == "Background"
        script.resume_ = always(ended("Failed", "gone"))
        stage.touch("now", run["metadata"]["name"])
        status = await stage.becomes("Degraded")
        assert "Background analysis phase error/failed: Metric" in status["message"]


def experiment(**more: Any) -> Object:
    step: Object = {
        "duration": "1m",
        "templates": [{"name": "chaos", "specRef": "canary"}],
        "analyses": [
            {
                "name": "run",
                "templateName": "gate",
                "requiredForCompletion": True,
                "args": [{"name": "hash", "value": "{{templates.chaos.podTemplateHash}}"}],
            }
        ],
    }
    return {"experiment": step | more}


async def test_an_experiment_has_pods_and_a_hash_of_its_own(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        await first_version(stage, {"setWeight": 20}, experiment(scaleDownDelaySeconds=0))
        stage.update("i:2")
        run = await stage.gate()

        named = {each["metadata"]["name"]: each for each in stage.all(REPLICA_SETS)}
        ours = next(each for name, each in named.items() if name.endswith("-2-1-chaos"))
        hash_ = ours["metadata"]["labels"][HASH_LABEL]
        made = stage.all(EXPERIMENTS)[0]
        assert hash_ not in {stage.web()["currentPodHash"], stage.web()["stableRS"]}
        assert run["spec"]["args"] == [{"name": "hash", "value": hash_}]
        assert "labels" not in run["metadata"]
        assert run["metadata"]["name"] == made["metadata"]["name"] + "-run"
        assert ours["metadata"]["annotations"]["experiment.argoproj.io/template-name"] == "chaos"

        script.resume_ = GOOD
        stage.touch("now", run["metadata"]["name"])
        await stage.healthy("i:2")
        await until(
            stage.cluster, lambda: stage.get(REPLICA_SETS, ours["metadata"]["name"])["spec"]["replicas"] == 0
        )


async def test_the_seeds_expression_ends_the_experiment(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        step = experiment()
        step["experiment"]["analyses"][0]["args"][0]["value"] = "{{rollouts.new.podTemplateHash}}"
        await first_version(stage, step)
        stage.update("i:2")
        status = await stage.becomes("Degraded")

        made = stage.all(EXPERIMENTS)[0]["status"]
        why = "failed to resolve {{rollouts.new.podTemplateHash}}"
        assert made["phase"] == "Error"
        assert made["message"] == f"Failed to create AnalysisRun for analysis 'run': {why}"
        assert "Experiment analysis phase is error/failed: Failed to create" in status["message"]
        assert script.calls == []


async def test_an_aborted_experiment_terminates_its_run(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        await first_version(stage, experiment())
        stage.update("i:2")
        await script.wait(lambda script: script.of("Resume"))
        stage.status({"abort": True})
        await script.wait(lambda script: script.of("Terminate"))

        await until(stage.cluster, lambda: stage.all(EXPERIMENTS)[0]["status"]["phase"] == "Successful")


async def test_a_rollout_reconciled_from_stale_copies_still_gets_there(staged: Staging) -> None:
    async with staged(Script(GOOD)) as stage:
        stage.caches.runs.lag = stage.caches.replica_sets.lag = stage.caches.rollouts.lag = 0.03
        await first_version(stage, {"setWeight": 20}, ANALYSIS, {"setWeight": 60})
        stage.update("i:2")
        await stage.healthy("i:2")

        assert len(stage.all(ANALYSIS_RUNS)) == 1


async def test_old_runs_are_deleted_beyond_the_history_limit(staged: Staging) -> None:
    async with staged(Script(GOOD)) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        limit = {"spec": {"analysis": {"successfulRunHistoryLimit": 1}}}
        stage.patch(ROLLOUTS, "web", limit)
        for image in ("i:2", "i:3", "i:4"):
            stage.update(image)
            await stage.healthy(image)

        await until(stage.cluster, lambda: len(stage.all(ANALYSIS_RUNS)) == 1)


async def test_an_inconclusive_experiment_waits_for_a_person(staged: Staging) -> None:
    async with staged(Script(always(ended("Inconclusive")))) as stage:
        await first_version(stage, experiment())
        stage.update("i:2")

        await stage.becomes("Paused", "InconclusiveExperiment")


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ({"value": "fixed"}, "fixed"),
        ({"valueFrom": {"podTemplateHashValue": "Stable"}}, "the stable hash"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}}, "red"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "spec.replicas"}}}, "5"),
    ],
)
async def test_arguments_come_from_where_they_say(staged: Staging, argument: Object, value: str) -> None:
    async with staged(Script()) as stage:
        steps = {"analysis": {"templates": [{"templateName": "gate"}], "args": [{"name": "hash"} | argument]}}
        await first_version(stage, {"setWeight": 20}, steps)
        stage.patch(ROLLOUTS, "web", {"metadata": {"labels": {"team": "red"}}})
        stage.update("i:2")
        run = await stage.gate()

        wanted = stage.web()["stableRS"] if value == "the stable hash" else value
        assert run["spec"]["args"] == [{"name": "hash", "value": wanted}]


async def test_a_template_of_the_cluster_is_found(staged: Staging) -> None:
    async with staged(Script()) as stage:
        spec = {"args": [{"name": "hash", "value": "default"}], "metrics": [METRIC]}
        named = {"metadata": {"name": "gate"}, "spec": spec}
        stage.cluster.api.create(CLUSTER_ANALYSIS_TEMPLATES, named)
        stage.rollout({"analysis": {"templates": [{"templateName": "gate", "clusterScope": True}]}})
        await stage.healthy("i:1")
        stage.update("i:2")
        run = await stage.gate()

        assert run["spec"]["args"] == [{"name": "hash", "value": "default"}]


async def test_a_host_outlives_a_troubled_api_server(staged: Staging) -> None:
    async with staged(Script(GOOD, slow=1.0)) as stage:
        await first_version(stage, {"setWeight": 20}, ANALYSIS)
        faults = stage.cluster.faults
        faults.expire()
        faults.answer(503, "away", where("patch create get"), times=5)
        faults.lose_answer(where("create", "analysisruns"))
        stage.update("i:2")
        await until(stage.cluster, lambda: stage.web().get("currentStepIndex") == 0)
        faults.cut_watches()
        await stage.healthy("i:2")

        assert len(stage.all(ANALYSIS_RUNS)) == 1
