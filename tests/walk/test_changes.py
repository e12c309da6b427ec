"""What people do to a Rollout while its gate runs: one fault per intent, the right verdict, nothing left."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from chaosplugin.core import ledger
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import NAMESPACES, Object
from tests.walk.bed import Bed, bed
from tests.walk.gate import Gate, metric

Story = Callable[[Bed, Gate], Awaitable[None]]
TERMINATED = [("Inconclusive", word) for word in ("Terminated", "Metric Terminated")]
"""The second is v1.10's own word, where it has called Terminate."""
SURVIVED = ("Successful", "Survived")


async def _begin(bed_: Bed, gate: Gate, *metrics: Object, steps: list[Object] | None = None) -> None:
    gate.deploy(*metrics, steps=steps)
    await bed_.until("the first version is healthy", lambda: gate.healthy)
    gate.begin()


async def _inject(bed_: Bed, gate: Gate) -> None:
    await _begin(bed_, gate, metric(duration="9s", config={"timeout": "30s"}))
    await bed_.until("the fault is on", lambda: gate.injected and gate.marked)


async def _left(bed_: Bed, gate: Gate, count: int) -> None:
    """Wait until nothing is left, and say how many experiments there were, each for an intent of its own."""
    await bed_.until(f"{gate.namespace} is clean", lambda: not gate.left_behind)
    intents = [each["metadata"]["labels"][ledger.RUN] for each in gate.created]
    assert len(intents) == len(set(intents)) == count, gate.state


async def _a_second_update_ends_the_gate_and_begins_one_of_its_own(bed_: Bed, gate: Gate) -> None:
    await _inject(bed_, gate)

    gate.update("web:3")

    await bed_.until("the second update is promoted", lambda: len(gate.runs) == 2 and gate.healthy)
    results = [run["status"]["phase"] for run in gate.runs]
    assert results == ["Inconclusive", "Successful"], gate.state
    assert gate.verdict == SURVIVED
    await _left(bed_, gate, 2)


async def _a_rollback_ends_the_gate(bed_: Bed, gate: Gate) -> None:
    await _inject(bed_, gate)

    gate.update("web:1")

    await bed_.until("the gate has ended", lambda: gate.ended and gate.healthy)
    assert len(gate.runs) == 1
    assert gate.verdict in TERMINATED
    await _left(bed_, gate, 1)


async def _a_rollback_before_the_proof_injects_nothing(bed_: Bed, gate: Gate) -> None:
    reads = bed_.hold(gate.asks("get", "rollouts"))
    await _begin(bed_, gate)
    await bed_.until("the proof is asked for", lambda: reads.hit)

    gate.update("web:1")
    await bed_.until("the Rollout has followed", lambda: gate.healthy)
    reads.perform()

    await bed_.until("the gate has ended", lambda: gate.ended)
    assert gate.verdict in TERMINATED
    await _left(bed_, gate, 0)


async def _a_full_promotion_ends_the_gate_without_a_fault_in_the_new_stable(bed_: Bed, gate: Gate) -> None:
    await _inject(bed_, gate)

    gate.promote_fully()

    await bed_.until("the canary is stable", lambda: gate.healthy and gate.ended)
    assert gate.verdict in TERMINATED
    await _left(bed_, gate, 1)


async def _a_deleted_rollout_takes_the_gate_along(bed_: Bed, gate: Gate) -> None:
    await _inject(bed_, gate)

    gate.delete_rollout()

    await bed_.until("the AnalysisRun is gone", lambda: not gate.runs)
    await _left(bed_, gate, 1)


async def _a_deleted_namespace_is_not_held_up(bed_: Bed, gate: Gate) -> None:
    await _inject(bed_, gate)

    gate.delete_namespace()

    await bed_.until(
        "the namespace is gone", lambda: bed_.cluster.api.find(NAMESPACES, "", gate.namespace) is None
    )
    assert len(gate.created) == 1


async def _notes_of_somebody_on_the_experiment_change_nothing(bed_: Bed, gate: Gate) -> None:
    await _begin(bed_, gate, metric())
    await bed_.until("the fault is on", lambda: gate.injected)

    gate.change_experiment({"metadata": {"annotations": {"team": "web"}, "labels": {"team": "web"}}})

    await bed_.until("the canary is promoted", lambda: gate.healthy and gate.ended)
    assert gate.verdict == SURVIVED
    await _left(bed_, gate, 1)


async def _writes_that_conflict_are_repeated_on_what_is_there(bed_: Bed, gate: Gate) -> None:
    """Somebody writes the AnalysisRun between each reading and each patch of the plugin."""
    patches = [bed_.hold(gate.asks("patch", "analysisruns"))]
    await _begin(bed_, gate, metric("one", "6s"), metric("two", "6s"))
    for _ in range(4):  # mark and verdict of each
        await bed_.until("a patch is under way", lambda: patches[-1].hit)
        gate.touch()
        patches.append(bed_.hold(gate.asks("patch", "analysisruns")))
        patches[-2].perform()
    patches[-1].perform()

    await bed_.until("the canary is promoted", lambda: gate.healthy and gate.ended)
    assert {each["phase"] for each in gate.measurements} == {"Successful"}
    await _left(bed_, gate, 2)


async def _errors_in_a_row_are_one_intent_and_one_experiment(bed_: Bed, gate: Gate) -> None:
    """Stale copies of the call that got the Error come between, as the host's cache lags."""
    away = ApiError(403, "Forbidden", "quota exceeded")
    bed_.cluster.faults.refuse(away, gate.asks("create", "podchaos"), times=2)

    await _begin(bed_, gate, metric())

    await bed_.until("the canary is promoted", lambda: gate.healthy and gate.ended)
    phases = [each["phase"] for each in gate.measurements]
    assert (gate.errors, phases) == (2, ["Error", "Error", "Successful"]), gate.state
    assert "Denied: " in gate.measurements[0]["message"]
    await _left(bed_, gate, 1)


def _experiment_step() -> Object:
    analysis = {
        "name": "gate",
        "templateName": "gate",
        "requiredForCompletion": True,
        "args": [{"name": "hash", "value": "{{templates.chaos.podTemplateHash}}"}],
    }
    labels = {"app": "web-chaos"}
    template = {"name": "chaos", "specRef": "canary", "replicas": 1}
    template |= {"metadata": {"labels": labels}, "selector": {"matchLabels": labels}}
    return {"experiment": {"templates": [template], "analyses": [analysis]}}


async def _an_experiment_that_is_retried_waits_for_the_old_pods_to_go(bed_: Bed, gate: Gate) -> None:
    """They bear the same hash for scaleDownDelaySeconds: both ReplicaSets would be hit."""
    step = _experiment_step()
    step["experiment"]["scaleDownDelaySeconds"] = 4
    await _begin(bed_, gate, metric(), steps=[{"setWeight": 50}, step])
    await bed_.until("the fault is on", lambda: gate.injected and gate.marked)

    gate.abort()
    await bed_.until("the gate has ended", lambda: gate.ended and not gate.experiments)
    gate.retry()

    await bed_.until("the canary is promoted", lambda: gate.healthy and len(gate.runs) == 2)
    assert gate.verdict == SURVIVED
    first, second = (set(_hit(each)) for each in gate.last)
    assert first
    assert second
    assert not first & second, "only pods of its own"
    await _left(bed_, gate, 2)


def _hit(experiment: Object) -> list[str]:
    records = experiment["status"]["experiment"].get("containerRecords") or ()
    return [record["id"] for record in records]


STORIES: tuple[Story, ...] = (
    _a_second_update_ends_the_gate_and_begins_one_of_its_own,
    _a_rollback_ends_the_gate,
    _a_rollback_before_the_proof_injects_nothing,
    _a_full_promotion_ends_the_gate_without_a_fault_in_the_new_stable,
    _a_deleted_rollout_takes_the_gate_along,
    _a_deleted_namespace_is_not_held_up,
    _notes_of_somebody_on_the_experiment_change_nothing,
    _writes_that_conflict_are_repeated_on_what_is_there,
    _errors_in_a_row_are_one_intent_and_one_experiment,
    _an_experiment_that_is_retried_waits_for_the_old_pods_to_go,
)


async def test_whatever_people_do_meanwhile_the_verdict_is_right_and_nothing_is_left(tmp_path: Path) -> None:
    problems: list[str] = []

    async def tell(bed_: Bed, story: Story, number: int) -> None:
        try:
            await story(bed_, Gate(bed_, f"change-{number}"))
        except AssertionError as error:  # the other stories go on
            problems.append(f"{story.__name__}: {error}")

    async with bed(tmp_path) as bed_:
        control = await bed_.begin()
        control.host.lag(0.1)  # each write of a status is followed by a call from an older copy
        async with anyio.create_task_group() as tasks:
            for number, story in enumerate(STORIES):
                tasks.start_soon(tell, bed_, story, number)
        await control.stop()
    assert not problems, "\n".join(problems)
