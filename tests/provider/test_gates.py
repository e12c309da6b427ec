"""Whole gates: provider, client and reflector against the sandbox over real HTTP."""

import json
from pathlib import Path

import anyio
import msgspec
import pytest

from chaosplugin.core.analysis import Measurement, Phase
from chaosplugin.core.policy import Policy, Wake
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, UPSTREAM_ROLE, rule
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.faults import where
from tests.provider.gate import HASH, LABEL, NAMESPACE, clock, config, gate, podchaos


async def test_a_canary_that_survives_pod_failure_is_successful(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        answer = await bed.judge(bed.analysis_run(), config())

        assert (answer.phase, answer.message.split(":")[0]) == (Phase.SUCCESSFUL, "Survived")
        figures = json.loads(answer.value)
        assert (figures["targets"], figures["injected"], figures["recovered"]) == (2, 2, 2)
        restarted = {pod["metadata"]["labels"][LABEL] for pod in bed.pods if restarts(pod)}
        assert restarted == {HASH}
        await bed.until(lambda: not bed.experiments)
        assert [stage for stage in bed.stages if stage != "done"] == [
            "proving",
            "creating",
            "observing",
            "recovering",
            "decided",
        ]


def restarts(pod: resources.Object) -> int:
    return sum(status["restartCount"] for status in pod["status"].get("containerStatuses", []))


async def test_killed_pods_are_replaced_and_survive(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        answer = await bed.judge(bed.analysis_run(), config(podchaos("pod-kill", mode="one")))

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert json.loads(answer.value)["targets"] == 1


async def test_killed_containers_restart_and_survive(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        answer = await bed.judge(
            bed.analysis_run(), config(podchaos("container-kill", containerNames=["web"]))
        )

        assert answer.phase is Phase.SUCCESSFUL, answer.message


async def test_a_canary_that_does_not_come_back_fails(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()

        async def break_canary() -> None:
            await bed.until(lambda: "observing" in bed.stages)
            for pod in bed.pods:
                if pod["metadata"]["labels"][LABEL] == HASH:
                    change = {"metadata": {"annotations": {"sandbox.chaosplugin.io/ready": "false"}}}
                    bed.cluster.api.merge(resources.PODS, NAMESPACE, pod["metadata"]["name"], change)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(break_canary)
            answer = await bed.judge(run, config(steadyState={"recoverWithin": "3s"}))

        assert answer.phase is Phase.FAILED
        assert "SteadyStateBroken: after PodChaos" in answer.message
        assert "0 of 2 pods Ready 3s after the fault" in answer.message
        await bed.until(lambda: not bed.experiments)


async def test_the_verdict_stands_on_the_analysis_run_before_the_experiment_goes(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        recorded_first: list[bool] = []

        def hear(change: object) -> None:
            if getattr(change, "type", "") == "DELETED":
                recorded_first.append(any("verdict" in key for key in bed.annotations()))

        bed.cluster.store.listen(hear, resources.POD_CHAOS)

        await bed.judge(run, config())

        await bed.until(lambda: not bed.experiments)
        assert recorded_first == [True]


async def test_a_plugin_that_was_started_anew_answers_the_recorded_verdict(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        first = await bed.judge(run, config())
        begun = Measurement(
            phase=Phase.RUNNING, started_at=first.started_at, metadata={"chaosplugin.io/run": "x"}
        )
        bed.provider._registry._runs.clear()

        answer = bed.provider.resume(run, bed.metric(config()), begun)
        with anyio.fail_after(20):
            while not answer.phase.completed:
                await anyio.sleep(0.01)
                answer = bed.provider.resume(run, bed.metric(config()), begun)

        assert (answer.phase, answer.message, answer.value) == (first.phase, first.message, first.value)
        await bed.until(lambda: not bed.experiments)


async def test_without_the_right_to_patch_the_controller_is_answered_by_time(tmp_path: Path) -> None:
    async with gate(tmp_path, policy=Policy(wake=Wake.POLL)) as bed:
        bed.deploy()

        answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert not bed.annotations()


async def test_who_may_not_patch_is_told_once_what_it_costs_and_what_grants_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gate(tmp_path) as bed:
        bed.cluster.access.revoke(ARGO_ROLLOUTS)
        others = [each for each in UPSTREAM_ROLE if "analysisruns" not in each.resources]
        reading = rule("get list watch", "argoproj.io", "analysisruns experiments")
        bed.cluster.access.grant(ARGO_ROLLOUTS, (*others, reading, *PLUGIN_ROLE))
        bed.deploy()
        runs = [bed.analysis_run(), bed.analysis_run("web-2")]
        for run in runs:
            bed.provider.run(run, bed.metric(config()))
        answer = await bed.judge(runs[0], config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        (told,) = [each.getMessage() for each in caplog.records if "may not patch" in each.getMessage()]
        assert "do not wait for their turn; grant patch on analysisruns.argoproj.io" in told


async def test_terminate_ends_in_one_call_and_removes_the_fault(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run, metric = bed.analysis_run(), bed.metric(config(podchaos(duration="8s")))
        begun = bed.provider.run(run, metric)
        bed.provider.resume(run, metric, begun)
        await bed.until(lambda: "observing" in bed.stages)

        answer = bed.provider.terminate(run, metric, begun)

        assert (answer.phase, answer.message.split(":")[0]) == (Phase.INCONCLUSIVE, "Terminated")
        await bed.until(lambda: not bed.experiments)


async def test_an_aborted_analysis_removes_the_fault_without_any_call(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run, metric = bed.analysis_run(), bed.metric(config(podchaos(duration="8s")))
        begun = bed.provider.run(run, metric)
        with anyio.fail_after(10):
            while begun.resume_at is not None or not any("mark" in key for key in bed.annotations()):
                begun = bed.provider.resume(run, metric, begun)
                await anyio.sleep(0.01)

        bed.cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, "web-1", {"spec": {"terminate": True}})

        await bed.until(lambda: not bed.experiments)


async def test_chaos_mesh_that_is_not_running_is_inconclusive(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        bed.cluster.chaos.stop()

        answer = await bed.judge(bed.analysis_run(), config(podchaos(duration="5s"), timeout="15s"))

        assert answer.phase is Phase.INCONCLUSIVE
        assert answer.message.startswith("NotInjected: ")
        await bed.until(lambda: not bed.experiments)


async def test_a_measurement_that_was_never_begun_is_not_taken_over(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        given = Measurement(phase=Phase.RUNNING, started_at=clock())

        answer = bed.provider.resume(bed.analysis_run(), bed.metric(config()), given)

        assert answer.phase is Phase.INCONCLUSIVE
        assert answer.message.startswith("Unobserved: ")
        assert not bed.experiments


async def test_a_call_with_the_uid_of_a_strangers_analysis_run_touches_nothing(tmp_path: Path) -> None:
    """A client of `serve` is let into namespaces; the uid that it shows is only its word."""
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        metric = bed.metric(config(podchaos(duration="10s")))
        measurement = await bed.inject(run, config(podchaos(duration="10s")))
        metadata = msgspec.structs.replace(run.metadata, namespace="elsewhere")
        forged = msgspec.structs.replace(run, metadata=metadata)

        answers = [
            bed.provider.run(forged, metric),
            bed.provider.resume(forged, metric, measurement),
            bed.provider.terminate(forged, metric, measurement),
        ]

        assert [answer.phase for answer in answers] == [Phase.ERROR] * 3
        assert all(answer.message.startswith("ScopeRefused: ") for answer in answers)
        assert bed.provider.resume(run, metric, measurement).phase is Phase.RUNNING
        assert bed.experiments


async def test_an_answer_of_create_that_is_lost_starts_no_second_experiment(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        bed.cluster.faults.lose_answer(where(verb="create", resource="podchaos"))

        answer = await bed.judge(bed.analysis_run(), config())

        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert max(map(restarts, bed.pods)) == 2


async def test_a_slow_api_server_only_makes_a_gate_slower(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        bed.cluster.faults.delay(0.5, where(verb="get"), times=3)

        begun = bed.provider.run(bed.analysis_run(), bed.metric(config()))

        assert begun.phase is Phase.RUNNING


async def test_an_api_server_that_is_away_is_an_error_after_all_tries(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        away = ApiError(503, "ServiceUnavailable", "apiserver is shutting down")
        bed.cluster.faults.refuse(away, where(verb="get"), times=10_000)

        answer = await bed.judge(run, config(), seconds=100)

        assert answer.phase is Phase.ERROR
        assert answer.message.startswith("Unavailable: ")
        assert not bed.experiments
