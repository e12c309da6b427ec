"""How experiments go: at once, never by force unless allowed, or kept until their AnalysisRun goes."""

from datetime import timedelta
from pathlib import Path

import pytest

from chaosplugin.core.analysis import Phase
from chaosplugin.core.policy import Policy
from chaosplugin.sandbox.api import resources
from tests.provider.gate import NAMESPACE, Gate, config, gate, podchaos, schedule

LONG = config(podchaos(duration="9s"), timeout="5m")


async def stick(bed: Gate) -> None:
    """Terminate a gate whose fault cannot be undone, and let a minute pass."""
    bed.deploy()
    run = bed.analysis_run()
    begun = await bed.inject(run, LONG)
    bed.cluster.chaos.fail("Recover", "no daemon")
    answer = bed.provider.terminate(run, bed.metric(LONG), begun)
    assert answer.phase is Phase.INCONCLUSIVE
    await seen_deleting(bed)
    bed.ahead += timedelta(seconds=61)
    bed.touch()


async def seen_deleting(bed: Gate) -> None:
    """Wait until the provider has seen that the deletion fails, and has an answer to its own."""
    (run,) = bed.provider._registry.runs.values()
    await bed.heard(lambda: bool(run.fault and run.fault.deleting and run.fault.failure and not run.pending))


async def test_a_stuck_deletion_is_told_and_not_forced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gate(tmp_path) as bed:
        await stick(bed)

        await bed.heard(lambda: "a residual fault is possible" in caplog.text)

        assert bed.experiments[0]["metadata"]["finalizers"]
        assert "--force-cleanup" in caplog.text


async def test_a_stuck_deletion_is_forced_where_the_operator_has_allowed_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with gate(tmp_path, policy=Policy(force_cleanup=True)) as bed:
        await stick(bed)

        await bed.until(lambda: not bed.experiments)

        await bed.heard(lambda: "removed finalizers by --force-cleanup" in caplog.text)
        assert "a residual fault is possible" in caplog.text


async def test_a_firing_that_is_stuck_is_forced_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its Schedule has no finalizer, and is gone at once."""
    async with gate(tmp_path, policy=Policy(force_cleanup=True)) as bed:
        bed.deploy()
        run, often = bed.analysis_run(), config(schedule("3s", "20s"), scheduleFor="30s", timeout="2m")
        begun = await bed.inject(run, often)
        bed.cluster.chaos.fail("Recover", "no daemon")
        bed.provider.terminate(run, bed.metric(often), begun)
        await bed.until(lambda: bed.experiments and "deletionTimestamp" in bed.experiments[0]["metadata"])
        await bed.heard(lambda: _sees_its_deletion(bed))

        bed.ahead += timedelta(seconds=61)
        bed.touch()

        await bed.until(lambda: not bed.experiments)
        await bed.heard(lambda: "removed finalizers by --force-cleanup" in caplog.text)


def _sees_its_deletion(bed: Gate) -> bool:
    (run,) = bed.provider._registry.runs.values()
    return run.gone_at is not None and any(each.metadata.deletion_timestamp for each in run.remains)


async def test_a_deletion_by_somebody_that_is_stuck_fails_the_gate_and_is_followed_on(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        begun = await bed.inject(run, LONG)
        trouble = bed.cluster.chaos.fail("Recover", "no daemon")
        (experiment,) = bed.experiments
        bed.cluster.api.delete(resources.POD_CHAOS, NAMESPACE, experiment["metadata"]["name"])
        await seen_deleting(bed)
        bed.ahead += timedelta(seconds=61)
        bed.touch()

        await bed.heard(lambda: all(each.recorded for each in bed.provider.runs.values()))

        answer = bed.provider.resume(run, bed.metric(LONG), begun)
        assert answer.phase is Phase.FAILED
        assert answer.message.startswith("NotRecovered: somebody deleted PodChaos")
        assert "no daemon" in answer.message
        trouble.mend()
        bed.touch()
        await bed.until(lambda: not bed.experiments)


async def test_a_kept_experiment_goes_with_its_analysis_run(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        await bed.judge(bed.analysis_run(), config(cleanupOnFinish="false"))
        await bed.until(
            lambda: any("chaosplugin.io/keep" in each["metadata"]["labels"] for each in bed.experiments)
        )

        bed.cluster.api.delete(resources.ANALYSIS_RUNS, NAMESPACE, "web-1")

        await bed.until(lambda: not bed.experiments)


async def test_garbage_collection_of_measurements_touches_no_experiment(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        run = bed.analysis_run()
        await bed.inject(run, LONG)

        assert bed.provider.garbage_collect(run, bed.metric(LONG), 10) == ""

        assert bed.injected
