"""Gates that are refused before anything is created, each in one line that says what to do."""

from pathlib import Path

import msgspec
import pytest

from chaosplugin.core.analysis import Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.core.policy import Policy
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, UPSTREAM_ROLE
from chaosplugin.sandbox.api.faults import where
from chaosplugin.sandbox.api.resources import Object
from tests.provider.gate import LABEL, NAMESPACE, STABLE, Gate, config, gate, podchaos


async def refused(bed: Gate, configuration: object, labels: dict[str, str] | None = None) -> str:
    """Judge a configuration that must be refused; the plugin stays alive and nothing is created."""
    answer = await bed.judge(bed.analysis_run("bad", labels), configuration)

    assert answer.phase is Phase.ERROR, answer
    assert not bed.experiments
    assert len(answer.message.encode()) <= 1024
    assert "\n" not in answer.message
    bed.cluster.api.delete(resources.ANALYSIS_RUNS, NAMESPACE, "bad")
    return answer.message


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        (None, "InvalidConfig: provider.plugin.chaosplugin/chaos-mesh: met nothing"),
        ({}, "at least chaosExperimentCRD"),
        (config(timeOut="5m"), "did you mean timeout?"),
        (config(cleanupOnFinish="perhaps"), "cleanupOnFinish"),
        (config(timeout="5 minutes"), "timeout"),
        (config(podchaos(duration="15s")), "set timeout to at least 25s"),
        (config("a: [1"), "not accepted as YAML"),
        (config("a: " + "[" * 100 + "]" * 100), "deep"),
        (config("a: &a [1]\nb: *a"), "alias"),
        (config("a: 1\na: 2"), "second time"),
        (config("a: !!python/none x"), "tag"),
        (config("a: 1\n---\nb: 2"), "document"),
        (config("x" * (1 << 20 | 1)), "1048576"),
        (config({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}}), "chaos-mesh.org"),
        (config({**podchaos(), "kind": "PodChaso"}), "did you mean PodChaos?"),
        (config({**podchaos(), "kind": "KernelChaos"}), "PolicyRefused"),
        (config({**podchaos(), "kind": "Schedule"}), "spec.schedule: met nothing, wanted when to fire"),
        (config({**podchaos(), "kind": "Workflow"}), "spec.templates: met nothing"),
        (config(podchaos(selector={"pods": {"default": ["web"]}})), "ScopeRefused"),
        (config(podchaos(selector={"namespaces": ["kube-system"]})), "ScopeRefused"),
        (config(podchaos(selector={"labelSelectors": {LABEL: "other"}})), "ScopeRefused"),
        (config(podchaos(remoteCluster="far")), "ScopeRefused"),
        (config(targetReplicaSetValue="{{rollouts.new.podTemplateHash}}"), "podTemplateHashValue: Latest"),
        (config(chaosMeshEndpoint="https://far:6443", credentials={"secretName": "x"}), "--allow-endpoint"),
    ],
)
async def test_bad_input_is_one_clear_line_and_creates_nothing(
    tmp_path: Path, configuration: object, words: str
) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        assert words in await refused(bed, configuration)


async def test_a_canary_that_nobody_names_is_refused_with_the_ways_to_name_it(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        assert "podTemplateHashValue: Latest" in await refused(bed, config(), labels={})


async def test_the_stable_pods_are_refused(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        message = await refused(bed, config(targetReplicaSetValue=STABLE))

        assert message.startswith("ScopeRefused: ")
        assert "stable" in message


@pytest.mark.parametrize(
    "owner", [None, {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j-1"}]
)
async def test_an_analysis_of_nobody_hits_no_stable_pods_either(tmp_path: Path, owner: Object | None) -> None:
    async with gate(tmp_path, policy=Policy(allow_unowned=True)) as bed:
        bed.deploy()
        owners = [{**owner, "controller": True}] if owner else []
        metadata = {"name": "alone", "labels": {LABEL: STABLE}, "ownerReferences": owners}
        made = bed.cluster.api.create(
            resources.ANALYSIS_RUNS, {"metadata": metadata, "spec": {"metrics": []}}, NAMESPACE
        )

        answer = await bed.judge(msgspec.convert(made.copy(), AnalysisRun), config())

        assert answer.phase is Phase.ERROR, answer.message
        assert "the stable version of Rollout web" in answer.message
        assert not bed.experiments


async def test_a_label_that_stable_pods_carry_too_is_refused(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        message = await refused(
            bed, config(targetReplicaSetLabel="app", targetReplicaSetValue="web", targetTimeout="5s")
        )

        assert message.startswith("ScopeRefused: ")
        assert "2 ReplicaSets" in message


async def test_an_unknown_field_is_the_api_servers_refusal(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()

        message = await refused(bed, config(podchaos(gracePeriodd=1)))

        assert message.startswith("Denied: ")
        assert 'unknown field "spec.gracePeriodd"' in message


async def test_missing_rights_are_an_error_that_names_them(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        bed.cluster.access.revoke(ARGO_ROLLOUTS)
        bed.cluster.access.grant(ARGO_ROLLOUTS, UPSTREAM_ROLE)

        message = await refused(bed, config())

        assert message.startswith("Denied: ")
        assert 'cannot get resource "podchaos"' in message
        bed.cluster.access.grant(ARGO_ROLLOUTS, PLUGIN_ROLE)


async def test_a_cluster_without_chaos_mesh_is_told(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        bed.cluster.faults.answer(404, "404 page not found\n", where(resource="podchaos"), times=99)

        message = await refused(bed, config())

        assert message.startswith("Unavailable: ")
        assert "install Chaos Mesh" in message


async def test_a_call_without_an_analysis_run_is_refused(tmp_path: Path) -> None:
    async with gate(tmp_path) as bed:
        answer = bed.provider.run(None, bed.metric(config()))

        assert answer.phase is Phase.ERROR
        assert answer.message.startswith("InvalidConfig: AnalysisRun")
