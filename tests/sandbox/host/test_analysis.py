"""What the real controller was seen to do with a metric plugin, v1.9.1 and v1.10.1."""

import base64
from functools import partial
from typing import Any

import anyio
import pytest

from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, SECRETS, Object
from chaosplugin.sandbox.host.assessment import V1_9, V1_10, Rules
from chaosplugin.sandbox.host.controller import Settings, control
from tests.sandbox.bed import until
from tests.sandbox.host.conftest import Staging, clock, login
from tests.sandbox.host.scripted import RUNNING, Call, Script, always, by_try, ended, held, in_turn
from tests.sandbox.host.stage import METRIC, Stage

SECOND = METRIC | {"name": "second"}


def unfinished(result: Object) -> bool:
    return bool(result["measurements"])


def called(method: str, times: int, script: Script) -> bool:
    return len(script.of(method)) >= times


def tries(script: Script) -> list[tuple[int, int]]:
    """Count and errors at each Run, once each: a controller slow to hear of its own write asks again."""
    return list(dict.fromkeys((call.count, call.error) for call in script.of("Run")))


async def settle(stage: Stage, script: Script) -> None:
    """Wait for the Resume that follows the status write after Run: from then on the controller is silent."""
    await script.wait(lambda script: script.of("Resume"))
    await stage.has(unfinished)


async def test_a_first_measurement_is_run_then_metadata_then_one_resume(staged: Staging) -> None:
    script = Script(metadata={"kind": "PodChaos"})
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        await anyio.sleep(0.3)

        assert script.methods == ["Run", "GetMetadata", "Resume"]
        assert stage.run()["status"]["metricResults"][0]["metadata"] == {"kind": "PodChaos"}


async def test_the_plugin_gets_its_metric_with_arguments_resolved(staged: Staging) -> None:
    script = Script(always(ended("Successful")))
    async with staged(script) as stage:
        stage.analyse(args=[{"name": "hash", "value": 'a"b\n'}])
        await stage.ends()

        assert script.calls[0].seen["metric"]["provider"]["plugin"] == {"argo/chaos": {"hash": 'a"b\n'}}


async def test_every_touch_gives_one_resume_that_sees_it(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        for word in "abcde":
            seen = len(script.of("Resume"))
            stage.touch(word)
            await script.wait(partial(called, "Resume", seen + 1))

        assert [call.touched for call in script.of("Resume")[1:]] == list("abcde")


async def test_a_patch_that_changes_nothing_wakes_nobody(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        stage.touch("once")
        await script.wait(lambda script: len(script.of("Resume")) == 2)
        stage.touch("once")
        await anyio.sleep(0.3)

        assert len(script.of("Resume")) == 2


async def test_a_measurement_that_ticks_keeps_the_controller_calling(staged: Staging) -> None:
    number = iter(range(1000))
    script = Script(resume_=lambda _: RUNNING | {"metadata": {"n": str(next(number))}})
    async with staged(script) as stage:
        stage.analyse()
        await script.wait(lambda script: len(script.of("Resume")) > 20)


async def test_a_resume_at_ahead_keeps_resume_away(staged: Staging) -> None:
    script = Script(always(RUNNING | {"resumeAt": "2099-01-01T00:00:00Z"}))
    async with staged(script) as stage:
        stage.analyse()
        await stage.has(unfinished)
        stage.touch("now")
        await anyio.sleep(0.3)

        assert script.of("Resume") == []


async def test_metrics_of_a_run_are_measured_at_the_same_time(staged: Staging) -> None:
    release = anyio.Event()
    script = Script(held(release))
    async with staged(script) as stage:
        stage.analyse("run", METRIC, SECOND)
        await script.wait(lambda script: len(script.of("Run")) == 2)  # before either is answered
        release.set()
        await stage.ends()


async def test_thirty_runs_are_measured_at_a_time(staged: Staging) -> None:
    release = anyio.Event()
    script = Script(held(release))
    async with staged(script) as stage:
        for number in range(40):
            stage.analyse(f"run-{number}")
        await script.wait(lambda script: len(script.of("Run")) == 30)
        await anyio.sleep(0.3)

        assert len(script.of("Run")) == 30
        release.set()
        await script.wait(lambda script: len(script.of("Run")) == 40)


@pytest.mark.parametrize(
    ("answer", "phase", "why"),
    [
        (ended("Failed", "gone"), "Failed", "failed (1) > failureLimit (0)"),
        (ended("Inconclusive", "gone"), "Inconclusive", "inconclusive (1) > inconclusiveLimit (0)"),
    ],
)
async def test_one_bad_measurement_ends_the_run(
    staged: Staging, answer: Object, phase: str, why: str
) -> None:
    script = Script(always(answer))
    async with staged(script) as stage:
        stage.analyse()
        status = await stage.ends()

        assert status["phase"] == phase
        assert status["message"] == f'Metric "chaos" assessed {phase} due to {why}: "Error Message: gone"'
        assert len(script.of("Run")) == 1


async def test_an_error_is_tried_five_times(staged: Staging) -> None:
    script = Script(always(ended("Error", "no")))
    async with staged(script) as stage:
        stage.analyse()
        status = await stage.ends()

        assert tries(script) == [(0, n) for n in range(5)]
        assert status["message"] == (
            'Metric "chaos" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): '
            '"Error Message: failed to run via plugin: no"'
        )


async def test_a_consecutive_error_limit_of_zero_gives_one_try(staged: Staging) -> None:
    script = Script(always(ended("Error", "no")))
    async with staged(script) as stage:
        stage.analyse("run", METRIC | {"consecutiveErrorLimit": 0})
        await stage.ends()

        assert len(script.of("Run")) == 1


async def test_an_error_counts_as_error_and_not_as_measurement(staged: Staging) -> None:
    good, bad = ended("Successful"), ended("Error")
    script = Script(by_try(bad, bad, good, good, good))
    async with staged(script) as stage:
        stage.analyse("run", METRIC | {"count": 3, "interval": "10ms"})
        await stage.ends(phase="Successful")

        assert tries(script) == [(0, 0), (0, 1), (0, 2), (1, 2), (2, 2)]


async def test_old_measurements_are_collected_after_the_tenth(staged: Staging) -> None:
    script = Script(always(ended("Successful")))
    async with staged(script) as stage:
        stage.analyse("run", METRIC | {"count": 13, "interval": "10ms"})
        status = await stage.ends(phase="Successful")

        assert script.methods.count("GarbageCollect 10") >= 3  # a stale copy asks again here as well
        assert len(status["metricResults"][0]["measurements"]) == 10
        assert tries(script) == [(n, 0) for n in range(13)]


@pytest.mark.parametrize("rule", ["chaos", ".*", "cha"])
async def test_a_dry_metric_is_run_and_its_end_ignored(staged: Staging, rule: str) -> None:
    script = Script(always(ended("Failed", "gone")))
    async with staged(script) as stage:
        stage.analyse(dryRun=[{"metricName": rule}])
        status = await stage.ends()

        assert status["phase"] == "Successful"
        assert status["metricResults"][0]["phase"] == "Failed"
        assert status["dryRunSummary"] == {"count": 1, "failed": 1}


@pytest.mark.parametrize(
    ("answer", "phase", "message", "measurement"),
    [
        (ended("Successful", "fine"), "Successful", "Run Terminated", ("Successful", "Metric Terminated")),
        (
            ended("Error", "no"),
            "Successful",
            "Run Terminated",
            ("Error", "failed to terminate via plugin: no"),
        ),
        (RUNNING, "Successful", "Run Terminated", ("Running", None)),
        (
            ended("Failed", "gone"),
            "Failed",
            'Metric "chaos" assessed Failed due to failed (1) > failureLimit (0): "Error Message: gone"',
            ("Failed", "gone"),
        ),
    ],
)
async def test_a_terminated_run_ends_at_once(
    staged: Staging, answer: Object, phase: str, message: str, measurement: tuple[str, str | None]
) -> None:
    script = Script(terminate_=always(answer))
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        stage.patch(ANALYSIS_RUNS, "run", {"spec": {"terminate": True}})
        status = await stage.ends()

        last = status["metricResults"][0]["measurements"][-1]
        assert (status["phase"], status["message"]) == (phase, message)
        assert (last["phase"], last.get("message")) == measurement


@pytest.mark.parametrize(("rules", "message"), [(V1_9, "stopped"), (V1_10, "Metric Terminated")])
async def test_v1_10_overwrites_the_message_of_an_inconclusive_terminate(
    staged: Staging, rules: Rules, message: str
) -> None:
    script = Script()
    async with staged(script, rules) as stage:
        stage.analyse()
        await settle(stage, script)
        stage.patch(ANALYSIS_RUNS, "run", {"spec": {"terminate": True}})
        status = await stage.ends()

        assert status["phase"] == "Inconclusive"
        assert status["metricResults"][0]["measurements"][-1]["message"] == message


@pytest.mark.parametrize(("rules", "calls"), [(V1_9, 0), (V1_10, 1)])
async def test_v1_9_never_terminates_while_resume_at_lies_ahead(
    staged: Staging, rules: Rules, calls: int
) -> None:
    script = Script(always(RUNNING | {"resumeAt": "2099-01-01T00:00:00Z"}))
    async with staged(script, rules) as stage:
        stage.analyse()
        await stage.has(unfinished)
        stage.patch(ANALYSIS_RUNS, "run", {"spec": {"terminate": True}})
        status = await stage.ends()

        assert len(script.of("Terminate")) == calls
        assert status["phase"] == ("Inconclusive" if calls else "Successful")


async def test_a_deleted_run_gets_no_call(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        stage.patch(ANALYSIS_RUNS, "run", {"metadata": {"finalizers": ["chaosplugin.io/test"]}})
        await script.wait(lambda script: len(script.of("Resume")) == 2)
        stage.cluster.api.delete(ANALYSIS_RUNS, "default", "run")
        stage.touch("deleting")
        await anyio.sleep(0.3)

        assert len(script.calls) == 4


async def test_a_stale_copy_makes_run_come_again_for_the_same_ordinal(staged: Staging) -> None:
    script = Script(slow=0.3)
    async with staged(script) as stage:
        stage.caches.runs.lag = 0.5
        stage.analyse()
        await script.wait(lambda script: script.of("Run"))
        stage.touch("while Run is under way")
        await script.wait(lambda script: len(script.of("Run")) == 2)

        assert script.of("Run")[0] == script.of("Run")[1]


async def test_a_touched_run_in_peace_is_run_once(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        for number in range(20):
            stage.touch(str(number))
        await script.wait(lambda script: script.calls[-1].touched == "19")

        assert len(script.of("Run")) == 1


async def test_a_run_under_way_is_kept_over_a_restart_of_the_host(staged: Staging) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)

        assert (await _restarted(stage)).method == "Resume"


async def _restarted(stage: Stage) -> Call:
    """Run a second controller beside, and return the first call it makes of its own."""
    second = Script()
    async with control(Settings(login(stage.cluster)), clock, second):
        await second.wait(lambda script: script.calls)
    return second.calls[0]


async def test_a_secret_reaches_the_plugin_and_not_the_cluster(staged: Staging) -> None:
    secret: dict[str, Any] = {"metadata": {"name": "s"}, "data": {"k": base64.b64encode(b"hush").decode()}}
    script = Script(always(ended("Failed", "it said hush")))
    async with staged(script) as stage:
        stage.cluster.api.create(SECRETS, secret, "default")
        reference = {"secretKeyRef": {"name": "s", "key": "k"}}
        stage.analyse(args=[{"name": "hash", "valueFrom": reference}])
        status = await stage.ends()

        seen = script.calls[0].seen
        assert seen["metric"]["provider"]["plugin"] == {"argo/chaos": {"hash": "hush"}}
        assert seen["run"]["spec"]["args"] == [{"name": "hash", "value": "hush", "valueFrom": reference}]
        assert "value" not in stage.run()["spec"]["args"][0]
        assert status["metricResults"][0]["message"] == "it said *****"


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            {"name": "m", "provider": {"plugin": {"a/b": {}, "c/d": {}}}},
            "metrics[0]: multiple providers specified",
        ),
        ({"name": "m", "provider": {}}, "metrics[0]: no provider specified"),
        (METRIC | {"count": 2}, "metrics[0]: interval must be specified when count > 1"),
        (
            METRIC | {"interval": "soon"},
            'metrics[0]: invalid interval string: time: invalid duration "soon"',
        ),
    ],
)
async def test_an_invalid_spec_calls_nobody(staged: Staging, metric: Object, message: str) -> None:
    script = Script()
    async with staged(script) as stage:
        stage.analyse("run", metric)
        status = await stage.ends(phase="Error")

        assert status["message"] == f"Analysis spec invalid: {message}"
        assert script.calls == []


async def test_a_plugin_that_is_not_registered_is_an_error(staged: Staging) -> None:
    metric = {"name": "m", "consecutiveErrorLimit": 0, "provider": {"plugin": {"no/such": {}}}}
    async with staged(Script()) as stage:
        stage.analyse("run", metric)
        status = await stage.ends()

        assert status["phase"] == "Error"
        assert (
            "unable to find plugin (no/such): plugin no/such not configured in configmap" in status["message"]
        )


async def test_an_argument_without_value_is_an_error(staged: Staging) -> None:
    async with staged(Script()) as stage:
        stage.analyse(args=[{"name": "hash"}])
        status = await stage.ends(phase="Error")

        assert status["message"] == 'Unable to resolve metric arguments: argument "hash" was not supplied'


async def test_status_writes_leave_marks_of_others_alone(staged: Staging) -> None:
    script = Script(resume_=in_turn(RUNNING, ended("Successful")))
    async with staged(script) as stage:
        stage.analyse()
        await settle(stage, script)
        mark = {"metadata": {"labels": {"chaosplugin.io/gate": "true"}, "annotations": {"mark": "1"}}}
        stage.patch(ANALYSIS_RUNS, "run", mark)
        await stage.ends()
        await until(stage.cluster, lambda: stage.run()["status"]["phase"] == "Successful")

        assert stage.run()["metadata"]["labels"] == {"chaosplugin.io/gate": "true"}
        assert stage.run()["metadata"]["annotations"] == {"mark": "1"}
