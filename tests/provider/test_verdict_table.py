"""Rows of the verdict table that other stories leave out, met on the sandbox, with the words people read.

They are told side by side, each on a sandbox of its own, as most of them wait.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.ledger import Identity
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.faults import where
from tests.provider.gate import HASH, LABEL, NAMESPACE, STABLE, Gate, config, gate, podchaos

Story = Callable[[Gate], Awaitable[Measurement]]
LONG = config(podchaos(duration="9s"))
BRIEF = config(podchaos(duration="2s"), timeout="15s")


async def _follow(bed: Gate, configuration: object, meddle: Callable[[], object]) -> Measurement:
    """Meddle once the fault is on, and return the verdict."""
    bed.deploy()
    run = bed.analysis_run()
    await bed.inject(run, configuration)
    meddle()
    return await bed.judge(run, configuration)


async def timeout(bed: Gate) -> Measurement:
    return await _follow(bed, BRIEF, bed.cluster.chaos.stop)


async def not_recovered(bed: Gate) -> Measurement:
    return await _follow(bed, BRIEF, lambda: bed.cluster.chaos.fail("Recover", "no daemon"))


async def paused(bed: Gate) -> Measurement:
    return await _follow(bed, LONG, lambda: _note(bed, {ledger.PAUSE: "true"}))


async def deleted(bed: Gate) -> Measurement:
    def delete() -> None:
        (experiment,) = bed.experiments
        bed.cluster.api.delete(resources.POD_CHAOS, NAMESPACE, experiment["metadata"]["name"])

    return await _follow(bed, LONG, delete)


def _note(bed: Gate, notes: dict[str, str]) -> None:
    (experiment,) = bed.experiments
    change = {"metadata": {"annotations": notes}}
    bed.cluster.api.merge(resources.POD_CHAOS, NAMESPACE, experiment["metadata"]["name"], change)


async def scope_violation(bed: Gate) -> Measurement:
    """Somebody gives a stable pod the canary's label just before Chaos Mesh selects."""
    bed.deploy()
    create = bed.cluster.faults.hold(where(verb="create", resource="podchaos"))
    answers: list[Measurement] = []

    async def judge() -> None:
        answers.append(await bed.judge(bed.analysis_run(), LONG))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(judge)
        await bed.heard(lambda: create.left == 0)
        stable = next(pod for pod in bed.pods if pod["metadata"]["labels"][LABEL] == STABLE)
        change = {"metadata": {"labels": {LABEL: HASH}}}
        bed.cluster.api.merge(resources.PODS, NAMESPACE, stable["metadata"]["name"], change)
        assert create.wait is not None
        create.wait.set()
    return answers[0]


async def condition_not_met(bed: Gate) -> Measurement:
    bed.deploy()
    plain = bed.metric(config())
    metric = Metric(name="chaos", plugin=plain.plugin, success_condition="result.targets > 2")
    run = bed.analysis_run()
    begun = bed.provider.run(run, metric)
    await bed.heard(lambda: bed.provider.resume(run, metric, begun).phase.completed)
    return bed.provider.resume(run, metric, begun)


async def not_steady(bed: Gate) -> Measurement:
    bed.deploy(annotations={"sandbox.chaosplugin.io/ready": "false"})
    return await bed.judge(bed.analysis_run(), config(targetTimeout="1s"))


async def no_targets(bed: Gate) -> Measurement:
    bed.deploy()
    change = {"spec": {"replicas": 0}}
    bed.cluster.api.merge(resources.REPLICA_SETS, NAMESPACE, f"web-{HASH}", change)
    await bed.until(lambda: all(pod["metadata"]["labels"][LABEL] == STABLE for pod in bed.pods))
    return await bed.judge(bed.analysis_run(), config(targetTimeout="1s"))


async def name_taken(bed: Gate) -> Measurement:
    bed.deploy()
    run = bed.analysis_run()
    name = f"kill-{Identity(run.metadata.uid, 'chaos', 1).digest}"
    foreign = podchaos(duration="1m", selector={"namespaces": [NAMESPACE], "labelSelectors": {"app": "none"}})
    bed.cluster.api.create(resources.POD_CHAOS, {**foreign, "metadata": {"name": name}}, NAMESPACE)

    answer = await bed.judge(run, config())

    assert [each["metadata"]["name"] for each in bed.experiments] == [name], "it is left alone"
    return answer


async def unknown(bed: Gate) -> Measurement:
    """The plugin is begun anew in the moment of the create, and the API server has forgotten as well."""
    bed.deploy()
    run = bed.analysis_run()
    create = bed.cluster.faults.hold(where(verb="create", resource="podchaos"))
    metric = bed.metric(config())
    begun = bed.provider.run(run, metric)
    with anyio.fail_after(30):
        while create.left:
            bed.provider.resume(run, metric, begun)
            await anyio.sleep(0.01)
    create.status = 503
    bed.provider._registry._runs.clear()
    bed.cluster.faults.expire()
    assert create.wait is not None
    create.wait.set()
    await bed.heard(lambda: bed.provider.resume(run, metric, begun).phase.completed)
    assert not bed.experiments
    return bed.provider.resume(run, metric, begun)


INCONCLUSIVE = Phase.INCONCLUSIVE
TABLE: tuple[tuple[Story, Phase, str, tuple[str, ...]], ...] = (
    (timeout, Phase.FAILED, "Timeout", ("still on after 15s", "raise timeout or shorten the duration")),
    (
        not_recovered,
        Phase.FAILED,
        "NotRecovered",
        ("2 of 2 targets", "have not recovered within 15s", "no daemon", "see Chaos Mesh's logs"),
    ),
    (paused, INCONCLUSIVE, "Paused", ("was paused by somebody", "run the gate again")),
    (deleted, INCONCLUSIVE, "Deleted", ("was deleted by somebody", "run the gate again")),
    (
        scope_violation,
        Phase.FAILED,
        "ScopeViolation",
        (f"hit web-{STABLE}-", f"not of ReplicaSet web-{HASH}", "see who gives pods its label"),
    ),
    (
        condition_not_met,
        Phase.FAILED,
        "ConditionNotMet",
        ("result.targets > 2", "2 targets hit"),
    ),
    (not_steady, INCONCLUSIVE, "NotSteady", ("0 of 2 canary pods Ready after 1s", "raise targetTimeout")),
    (no_targets, INCONCLUSIVE, "NoTargets", ("after 1s", "wants 0", "raise targetTimeout")),
    (name_taken, Phase.ERROR, "NameTaken", ("is not this gate's", "remove it, or rename the template's")),
    (unknown, INCONCLUSIVE, "Unknown", ("was about to be created", "run the gate again")),
)


async def test_each_row_of_the_verdict_table_is_met_with_its_words(tmp_path: Path) -> None:
    problems: list[str] = []

    async def tell(story: Story, phase: Phase, reason: str, words: tuple[str, ...]) -> None:
        folder = tmp_path / story.__name__
        folder.mkdir()
        async with gate(folder) as bed:
            answer = await story(bed)
        met = (answer.phase, answer.message.partition(":")[0])
        missing = [each for each in words if each not in answer.message]
        if met != (phase, reason) or missing:
            problems.append(f"{story.__name__}: {met}, without {missing}: {answer.message}")

    async with anyio.create_task_group() as tasks:
        for row in TABLE:
            tasks.start_soon(tell, *row)
    assert not problems, "\n".join(problems)
