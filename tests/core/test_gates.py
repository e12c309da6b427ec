"""What an AnalysisRun tells of its gates to whoever does not work on them."""

from datetime import datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from chaosplugin.core import delivery, ledger, record
from chaosplugin.core.analysis import Phase
from chaosplugin.core.gates import Gate, gate_of, gates_in
from chaosplugin.core.ledger import Identity
from chaosplugin.core.objects import AnalysisRun, Metadata, MetricResult, StoredMeasurement, StoredMetadata
from chaosplugin.core.run import Stage
from tests.core.given import START, analysis_run, make_spec
from tests.core.world import World

NOW = START + timedelta(minutes=1)
FIRST = Identity("run-1", "chaos", 1)


def stored(phase: str, identity: Identity = FIRST, message: str = "") -> StoredMeasurement:
    ended = "" if phase == "Running" else NOW.isoformat()
    subject = StoredMetadata(run=identity.digest, experiment=make_spec().subject)
    return StoredMeasurement(
        phase=phase, message=message, metadata=subject, started_at=START.isoformat(), finished_at=ended
    )


def with_measurements(
    *measurements: StoredMeasurement, count: int = 0, phase: str = "Running"
) -> AnalysisRun:
    result = MetricResult(name="chaos", count=count, measurements=list(measurements))
    return analysis_run(phase=phase, metric_results=[result])


def annotated(run: AnalysisRun, patch: dict[str, object]) -> AnalysisRun:
    metadata = patch["metadata"]
    assert isinstance(metadata, dict)
    annotations = {**(run.metadata.annotations or {}), **metadata["annotations"]}
    return replace(run, metadata=replace(run.metadata, annotations=annotations))


def only(run: AnalysisRun) -> Gate:
    (gate,) = gates_in(run)
    return gate


def test_mark_and_verdict_say_where_a_gate_is_as_the_process_does_that_works_on_it() -> None:
    world = World()
    run = with_measurements(stored("Running"))
    begun = only(run)
    world.to_observing()
    here = world.registry.run(world.spec.id)
    assert here is not None
    assert here.mark is not None
    run = annotated(run, ledger.mark_patch(FIRST, here.mark, "7"))
    observing, known = only(run), gate_of(here)
    world.terminate()
    assert here.verdict is not None
    written = delivery.record_of(here.verdict, "here")
    run = annotated(run, ledger.verdict_patch(FIRST, written, "w", "8"))
    here.recorded = True
    decided, judged = only(run), gate_of(here)

    assert (begun.stage, begun.phase) == (Stage.PROVING, Phase.RUNNING)
    assert (observing.stage, observing.message) == (known.stage, known.message)
    assert (decided.stage, decided.reason) == (Stage.DECIDED, "Terminated")
    assert decided == judged


def test_a_gate_that_argo_has_stored_is_done() -> None:
    message = "Survived: PodChaos default/web hit 2 of 2 targets"
    gate = only(with_measurements(stored("Successful", message=message), count=1, phase="Successful"))

    assert (gate.stage, gate.phase, gate.reason) == (Stage.DONE, Phase.SUCCESSFUL, "Survived")
    assert (gate.started_at, gate.finished_at) == (START, NOW)


def test_of_the_tries_after_an_error_the_last_counts_and_each_intent_is_a_gate() -> None:
    second = Identity("run-1", "chaos", 2)
    found = gates_in(
        with_measurements(
            stored("Error", message="Unavailable: it is away"),
            stored("Failed", message="Timeout: still on"),
            stored("Error", second, message="Unavailable: it is away"),
            stored("Running", second),
            count=1,
        )
    )

    assert [(gate.id, gate.phase) for gate in found] == [
        (FIRST.digest, Phase.FAILED),
        (second.digest, Phase.RUNNING),
    ]


@pytest.mark.parametrize("how", ["deleted", "being deleted", "ended"])
def test_a_gate_without_a_verdict_whose_analysis_is_over_was_terminated(how: str) -> None:
    run = with_measurements(stored("Running"), phase="Error" if how == "ended" else "Running")
    if how == "being deleted":
        run = replace(run, metadata=replace(run.metadata, deletion_timestamp=NOW))
    (gate,) = gates_in(run, NOW if how == "deleted" else None)

    assert (gate.stage, gate.phase, gate.reason) == (Stage.DONE, Phase.INCONCLUSIVE, "Terminated")
    assert gate.finished_at is not None


def test_what_is_not_of_this_analysis_run_is_none_of_its_gates() -> None:
    stranger = Identity("run-0", "chaos", 1)  # Argo writes by name: of one that was deleted
    assert not list(gates_in(with_measurements(stored("Running", stranger))))
    assert not list(gates_in(with_measurements(StoredMeasurement(phase="Running"))))
    assert not list(gates_in(analysis_run()))


def test_of_what_others_have_written_down_no_more_is_shown_than_of_a_gate_of_ours() -> None:
    long = "x" * 100_000
    text = replace(stored("Failed", message=long), value=f'"{long}"')
    written = replace(text, metadata=StoredMetadata(run=FIRST.digest, experiment=long))
    ended = {"phase": "Failed", "message": long, "value": long, "startedAt": START, "finishedAt": NOW}
    metadata = Metadata(uid="record-1", namespace="default", name="g", creation_timestamp=datetime(1, 1, 1))  # noqa: DTZ001 - hostile
    data = {"ended": msgspec.json.encode(ended).decode()}

    for gate in (only(with_measurements(written, count=1)), record.as_gate(record.Record(metadata, data))):
        assert (gate.phase, gate.reason, gate.value) == (Phase.FAILED, "", "")
        assert len(msgspec.json.encode(gate)) < 4096
