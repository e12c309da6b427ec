"""Specifications: made once for all calls of a measurement, and only as long as it is asked about."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chaosplugin.core.analysis import Metric
from chaosplugin.core.objects import (
    AnalysisRun,
    AnalysisRunSpec,
    AnalysisRunStatus,
    Argument,
    Metadata,
    MetricResult,
)
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, ScopeRefused
from chaosplugin.kube.yaml import load
from chaosplugin.provider.specs import Specs
from chaosplugin.sandbox.api import resources
from tests.provider.gate import NAMESPACE, config, gate, podchaos

_TEMPLATE = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata: {name: away}
spec: {action: pod-failure, mode: all, duration: 10s}
"""
_RUN = AnalysisRun(
    metadata=Metadata(
        name="web", namespace="default", uid="u-1", labels={"rollouts-pod-template-hash": "abc123"}
    ),
    spec=AnalysisRunSpec(args=[Argument(name="token", value="first secret")]),
)


def _metric(template: str = _TEMPLATE, condition: str = "") -> Metric:
    config = msgspec.json.encode({"chaosExperimentCRD": template})
    return Metric(name="chaos", plugin={"chaosplugin/chaos-mesh": config}, success_condition=condition)


def _specs(load_yaml: Callable[[str], object] = load) -> Specs:
    return Specs(policy=Policy(), load_yaml=load_yaml, origin=lambda: "")


def _with_count(count: int) -> AnalysisRun:
    result = MetricResult(name="chaos", phase="Running", count=count)
    return msgspec.structs.replace(_RUN, status=AnalysisRunStatus(metric_results=[result]))


def test_gates_of_one_template_share_what_was_read_of_it() -> None:
    """Thousands of them may be restored at once."""
    read: list[str] = []

    def counting(text: str) -> object:
        read.append(text)
        return load(text)

    specs = _specs(counting)
    made = []
    for number in range(3):
        metadata = msgspec.structs.replace(_RUN.metadata, name=f"web-{number}", uid=f"u-{number}")
        made.append(specs.of(msgspec.structs.replace(_RUN, metadata=metadata), _metric()))

    assert len(read) == 1
    assert len({spec.name for spec in made}) == 3
    first, second, _ = (spec.manifest("abc123", {})["spec"] for spec in made)
    assert first == second
    assert made[0].manifest("other", {})["spec"] != first


def test_what_may_not_be_hit_is_refused_to_who_begins_and_not_to_who_goes_on() -> None:
    """What was created is judged, whatever the template, or the operator, says by now."""
    elsewhere = "selector: {labelSelectors: {rollouts-pod-template-hash: other}}"
    metric = _metric(_TEMPLATE.replace("mode: all", f"mode: all, {elsewhere}"))
    specs = _specs()

    with pytest.raises(ScopeRefused):
        specs.to_begin(_RUN, metric)

    with pytest.raises(ScopeRefused):
        specs.of(_RUN, metric).manifest("abc123", {})


def test_a_template_is_read_once_for_all_calls_of_a_measurement() -> None:
    read: list[str] = []

    def counting(text: str) -> object:
        read.append(text)
        return load(text)

    specs = _specs(counting)
    first = specs.of(_RUN, _metric())
    later = msgspec.structs.replace(
        _with_count(0), metadata=msgspec.structs.replace(_RUN.metadata, resource_version="17")
    )

    assert specs.of(later, _metric()) is first
    assert len(read) == 1


@pytest.mark.parametrize(
    ("run", "metric"),
    [
        (_RUN, _metric(_TEMPLATE.replace("10s", "20s"))),
        (_RUN, _metric(condition="result.survived")),
        (msgspec.structs.replace(_RUN, spec=AnalysisRunSpec()), _metric()),
        (_with_count(1), _metric()),
        (
            msgspec.structs.replace(
                _RUN,
                metadata=msgspec.structs.replace(_RUN.metadata, labels={"rollouts-pod-template-hash": "b"}),
            ),
            _metric(),
        ),
    ],
    ids=["template", "condition", "arguments", "intent", "labels"],
)
def test_what_is_asked_otherwise_is_specified_anew(run: AnalysisRun, metric: Metric) -> None:
    specs = _specs()
    first = specs.of(_RUN, _metric())

    try:
        second = specs.of(run, metric)
    except InvalidConfig:
        return  # looked at, not remembered
    assert second is not first


def test_a_refusal_is_not_remembered() -> None:
    specs = _specs()
    for _ in range(2):
        with pytest.raises(InvalidConfig):
            specs.of(_RUN, _metric("kind: ["))
    assert specs.of(_RUN, _metric()).kind == "PodChaos"


def test_a_measurement_that_is_done_with_is_specified_anew() -> None:
    specs = _specs()
    first = specs.of(_RUN, _metric())
    later = specs.of(_with_count(1), _metric())

    specs.forget(first)
    assert specs.of(_with_count(1), _metric()) is later, "what is asked about stays"
    specs.forget(later)

    assert specs.of(_with_count(1), _metric()) is not later


async def test_a_gate_that_has_ended_leaves_no_specification(tmp_path: Path) -> None:
    """They were kept up to 1,024, some 8 kB each: a process's memory grew with every gate."""
    async with gate(tmp_path) as bed:
        bed.deploy(1)
        run = bed.analysis_run()
        await bed.judge(run, config(podchaos("pod-kill")))
        assert bed.provider._specs._kept

        done = {"status": {"phase": "Successful"}}
        bed.cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, run.metadata.name, done)
        await bed.heard(lambda: "done" in bed.stages)

        assert not bed.provider._specs._kept
