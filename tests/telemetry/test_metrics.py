"""What is counted of the facts, and that it stays few."""

import random
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    Delete,
    Done,
    Failed,
    LedgerRead,
    ReadLedger,
    VerdictWritten,
    WriteVerdict,
)
from chaosplugin.core.delivery import record_of
from chaosplugin.core.kinds import KINDS
from chaosplugin.core.ledger import Identity
from chaosplugin.core.progress import Concluded, Transition
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.verdict import Figures, Reason, Verdict
from chaosplugin.provider.facts import (
    Called,
    Performed,
    Pulse,
    Refused,
    Requested,
    Swept,
    WatchBegan,
    WatchCut,
    WatchEnded,
)
from chaosplugin.telemetry.metrics import Metrics
from tests.core.given import HASH, START, analysis_run, make_spec, pod, with_patch
from tests.core.world import World

MOST_SERIES = 20_000


def make(now: float = 1000.0) -> Metrics:
    return Metrics(lambda: START + timedelta(seconds=100), lambda: now, dict)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    metrics.collect()
    return metrics.families.registry.get_sample_value(f"rollouts_chaos_{name}", labels)


def series(registry: CollectorRegistry) -> int:
    return sum(len(family.samples) for family in registry.collect())


def tell(metrics: Metrics, world: World) -> None:
    for fact in world.registry.progress:
        metrics.observe(fact)


def survived() -> World:
    world = World(sampled=True)
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    world.record()
    return world


GATE = {"namespace": "default", "rollout": "web", "kind": "PodChaos"}


def test_a_gate_is_counted_with_its_verdict_reason_and_times() -> None:
    metrics, world = make(), survived()
    tell(metrics, world)

    assert value(metrics, "gates_total", **GATE, verdict="successful", reason="Survived") == 1
    assert value(metrics, "gate_duration_seconds_count", kind="PodChaos", verdict="successful") == 1
    assert value(
        metrics, "gate_duration_seconds_sum", kind="PodChaos", verdict="successful"
    ) == pytest.approx(15)
    assert value(metrics, "injection_duration_seconds_count", kind="PodChaos") == 1
    assert value(metrics, "recovery_duration_seconds_count", kind="PodChaos") == 1
    assert value(metrics, "targets_total", kind="PodChaos", result="recovered") == 1
    for stage in ("before", "during", "after"):
        assert value(metrics, "steady_state_checks_total", stage=stage, result="pass") == 1


def test_a_gate_is_counted_by_the_process_whose_verdict_was_recorded() -> None:
    metrics, world = make(), World()
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    write = world.expect(WriteVerdict)
    other = replace(write.record, by="elsewhere")
    world.done(write, VerdictWritten(other, analysis_run()))
    tell(metrics, world)

    assert value(metrics, "gates_total", **GATE, verdict="successful", reason="Survived") == 0
    assert value(metrics, "steady_state_checks_total", stage="after", result="pass") is None


def test_a_verdict_whose_answer_was_lost_is_counted_by_who_recorded_it() -> None:
    metrics, world = make(), World()
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    write = world.expect(WriteVerdict)
    patch = ledger.verdict_patch(world.spec.identity, write.record, "w", "7")
    world.done(write, Failed("no answer"))
    world.run_seen(with_patch(patch))
    tell(metrics, world)

    assert value(metrics, "gates_total", **GATE, verdict="successful", reason="Survived") == 1


def test_a_verdict_that_a_successor_finds_is_not_counted_again() -> None:
    metrics, before, world = make(), survived(), World()
    (run,) = before.registry.runs.values()
    assert run.verdict is not None
    patch = ledger.verdict_patch(world.spec.identity, record_of(run.verdict, "earlier"), "w", "7")
    world.start(resume=True)
    world.resume()
    read = LedgerRead(analysis_run=with_patch(patch), experiment=None, value=HASH)
    world.done(world.expect(ReadLedger), read)
    tell(metrics, world)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)
    assert value(metrics, "gates_total", **GATE, verdict="successful", reason="Survived") == 0
    assert value(metrics, "adoptions_total", outcome="verdict_found") == 1


def test_the_first_failure_of_a_rollout_is_an_increase() -> None:
    """A counter that begins at 1 has not increased, as far as Prometheus can tell."""
    metrics, world = make(), World()
    world.to_observing()
    tell(metrics, world)

    assert value(metrics, "gates_total", **GATE, verdict="failed", reason="SteadyStateBroken") == 0
    assert value(metrics, "gate_duration_seconds_count", kind="PodChaos", verdict="error") == 0
    assert value(metrics, "protocol_errors_total", layer="goplugin") == 0
    assert value(metrics, "spans_total", result="dropped") == 0


@pytest.mark.parametrize("sampled", [True, False])
def test_exemplars_name_traces_that_there_are(sampled: bool) -> None:
    metrics, world = make(), World(sampled=sampled)
    world.to_recovering()
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    world.record()
    tell(metrics, world)
    (run,) = world.registry.runs.values()
    encode, _ = choose_encoder("application/openmetrics-text")
    text = encode(metrics.families.registry).decode()

    assert (f'trace_id="{run.trace.id}"' in text) is sampled


def test_what_is_under_way_is_looked_at_when_it_is_asked_for() -> None:
    metrics, world = make(), World()
    metrics.runs = lambda: world.registry.runs
    world.to_observing()
    labels = {"namespace": "default", "kind": "PodChaos", "stage": "observing"}
    oldest = "gates_active_oldest_start_timestamp_seconds"

    assert value(metrics, "gates_active", **labels) == 1
    assert value(metrics, oldest, **labels) == START.timestamp()

    world.terminate()

    assert value(metrics, "gates_active", **labels) is None
    assert value(metrics, "gates_active", **{**labels, "stage": "decided"}) == 1


def test_a_refused_call_is_a_gate_that_ended_in_error() -> None:
    metrics = make()
    fact = Refused(
        analysis_run=analysis_run(),
        metric="chaos",
        trace=None,
        reason=Reason.INVALID_CONFIG,
        message="InvalidConfig: no",
        at=START,
    )
    metrics.observe(fact)
    metrics.observe(replace(fact, analysis_run=None))
    labels = {"kind": "unknown", "verdict": "error", "reason": "InvalidConfig"}

    assert value(metrics, "gates_total", namespace="default", rollout="web", **labels) == 1
    assert value(metrics, "gates_total", namespace="", rollout="", **labels) == 1


def test_a_deletion_that_does_not_end_is_left_over() -> None:
    metrics, world = make(), survived()
    metrics.runs = lambda: world.registry.runs
    (run,) = world.registry.runs.values()
    run.delete_sent_at = START
    metrics.observe(Swept(deleted=2, stuck=3))
    metrics.observe(Performed(run, Delete(run.spec.id, "chaos-1"), Failed("no answer")))
    metrics.observe(Performed(run, Delete(run.spec.id, "chaos-1"), Done()))

    assert value(metrics, "leftover_experiments") == 4
    assert value(metrics, "cleanups_total", result="deleted", trigger="sweep") == 2
    assert value(metrics, "cleanups_total", result="failed", trigger="finish") == 1


def test_watches_tell_how_long_they_are_silent() -> None:
    metrics = make(now=1000.0)
    quiet, lively = Pulse("pods", 900.0), Pulse("pods", 990.0)
    for pulse in (quiet, lively):
        metrics.observe(WatchBegan(pulse))
    metrics.observe(WatchCut(quiet, "expired"))
    now = (START + timedelta(seconds=100)).timestamp()

    assert value(metrics, "watch_streams", resource="pods") == 2
    assert value(metrics, "watch_last_event_timestamp_seconds", resource="pods") == now - 100
    assert value(metrics, "watch_restarts_total", resource="pods", reason="expired") == 1

    metrics.observe(WatchEnded(quiet))

    assert value(metrics, "watch_last_event_timestamp_seconds", resource="pods") == now - 10


@pytest.mark.parametrize(
    ("method", "path", "watch", "name"),
    [
        ("GET", "/api/v1/namespaces/shop/pods", False, ("list", "pods")),
        ("GET", "/api/v1/pods", True, ("watch", "pods")),
        ("GET", "/api/v1/namespaces/kube-system", False, ("get", "namespaces")),
        ("GET", "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web", False, ("get", "rollouts")),
        ("POST", "/apis/chaos-mesh.org/v1alpha1/namespaces/shop/podchaos", False, ("create", "podchaos")),
        ("PATCH", "/apis/argoproj.io/v1alpha1/namespaces/s/analysisruns/x", False, ("patch", "analysisruns")),
        ("DELETE", "/apis/chaos-mesh.org/v1alpha1/namespaces/s/podchaos/x", False, ("delete", "podchaos")),
    ],
)
def test_requests_are_counted_by_verb_and_resource(
    method: str, path: str, watch: bool, name: tuple[str, str]
) -> None:
    metrics = make()
    fact = Requested(
        method=method,
        path=path,
        watch=watch,
        what="",
        server="https://api",
        status=0,
        error="",
        gate=None,
        span_id="",
        at=START,
        seconds=0.1,
    )
    metrics.observe(fact)

    assert value(metrics, "kube_requests_total", verb=name[0], resource=name[1], code="none") == 1


def test_calls_are_counted_by_what_they_were_answered() -> None:
    metrics = make()
    for phase in (Phase.RUNNING, Phase.RUNNING, Phase.FAILED, None):
        metrics.observe(Called("Resume", None, START, 0.001, phase))

    assert value(metrics, "rpc_requests_total", method="Resume", result="running") == 2
    assert value(metrics, "rpc_requests_total", method="Resume", result="done") == 1
    assert value(metrics, "rpc_duration_seconds_count", method="Resume") == 4


def _many(rollouts: int, gates: int) -> list[tuple[Run, Verdict]]:
    """Gates of all kinds and all reasons, each of an AnalysisRun and an experiment of its own."""
    source = random.Random(7)  # noqa: S311 - a test that is the same each time
    made = []
    for number in range(gates):
        rollout = f"app-{number % rollouts}"
        given = analysis_run()
        owner = given.metadata.controller
        assert owner is not None
        metadata = msgspec.structs.replace(
            given.metadata,
            name=f"{rollout}-{number}",
            uid=f"uid-{number}",
            namespace=f"team-{number % 20}",
            owner_references=[msgspec.structs.replace(owner, name=rollout)],
        )
        spec = make_spec(
            identity=Identity(f"uid-{number}", "chaos", 1),
            analysis_run=msgspec.structs.replace(given, metadata=metadata),
            kind=source.choice(sorted(KINDS)),
            name=f"experiment-{number}",
        )
        run = Run(
            spec=spec,
            errors=0,
            started_at=START,
            asked_at=START,
            restored=False,
            one_shot=False,
            rules=spec.rules,
        )
        reason = source.choice(list(Reason))
        verdict = Verdict(
            phase=reason.phase,
            reason=reason,
            message=f"{reason}: {number}",
            value=Figures(seconds=number).as_json(reason),
            finished_at=START,
        )
        made.append((run, verdict))
    return made


def test_ten_thousand_gates_of_two_hundred_rollouts_are_few_series() -> None:
    metrics = make()
    runs: dict[str, Run] = {}
    for run, verdict in _many(200, 10_000):
        metrics.observe(Transition(run=run, before=Stage.RESTORING, after=Stage.PROVING, at=START))
        run.verdict, run.stage, run.decided_at = verdict, Stage.DECIDED, START
        metrics.observe(Concluded(run))
        runs[run.spec.id] = run
    metrics.runs = lambda: runs
    metrics.collect()
    counted = metrics.families.gates.collect()

    assert series(metrics.families.registry) <= MOST_SERIES
    assert sum(sample.value for family in counted for sample in family.samples) == 10_000


def test_rollouts_without_end_do_not_add_series_without_end() -> None:
    metrics = make()
    for run, verdict in _many(3_000, 3_000):
        metrics.observe(Transition(run=run, before=Stage.RESTORING, after=Stage.PROVING, at=START))
        run.verdict, run.decided_at = verdict, START
        metrics.observe(Concluded(run))

    assert series(metrics.families.registry) <= MOST_SERIES


def test_an_adopted_experiment_is_told_from_one_that_was_lost() -> None:
    metrics = make()
    for after, recorded in ((Stage.OBSERVING, False), (Stage.DECIDED, True), (Stage.DECIDED, False)):
        ((run, verdict),) = _many(1, 1)
        run.restored, run.recorded = True, recorded
        run.verdict = verdict if after is Stage.DECIDED else None
        metrics.observe(Transition(run=run, before=Stage.RESTORING, after=after, at=START))

    for outcome in ("resumed", "verdict_found", "lost"):
        assert value(metrics, "adoptions_total", outcome=outcome) == 1
