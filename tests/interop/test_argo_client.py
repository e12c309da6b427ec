"""The plugin under the real client of Argo Rollouts: its config, downloader, go-plugin and rpc package."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.interop.conftest import NAME, Plugin
from tests.interop.hosts import Host
from tests.interop.leftovers import children, files, lives, until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1500)]  # the first test of a machine builds the host

Json = dict[str, Any]
_TEMPLATE = """\
apiVersion: chaos-mesh.org/v1alpha1
kind: PodChaos
metadata:
  name: away
spec:
  action: pod-failure
  mode: all
  duration: 10s
"""
_NAMES = {"app": "web", "rollouts-pod-template-hash": "abc123", "rollout-type": "Step"}


def _metric(config: object) -> Json:
    return {"name": "chaos", "provider": {"plugin": {NAME: config}}}


def run_of(number: int = 1, **metadata: object) -> Json:
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "r-1"}
    return {
        "metadata": {
            "name": f"web-{number}",
            "namespace": "default",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "labels": _NAMES,
            "creationTimestamp": "2026-11-23T12:00:00Z",
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
            **metadata,
        },
        "spec": {"metrics": [_metric({"chaosExperimentCRD": _TEMPLATE})]},
        "status": {"phase": "Running", "startedAt": "2026-11-23T12:00:01Z"},
    }


GOOD = _metric({"chaosExperimentCRD": _TEMPLATE})


def test_the_plugin_is_copied_started_and_pinged(loaded: Host, tmp_path: Path) -> None:
    copy = tmp_path / "controller" / "plugin-bin" / NAME

    assert copy.stat().st_mode & 0o777 == 0o700
    assert loaded.call("Get", metric=GOOD).error == ""
    assert len(children(loaded.pid)) == 1
    assert loaded.call("InitPlugin", metric=GOOD).result == {"ErrorString": ""}


def test_a_name_without_slash_is_refused_by_argo(host: Host, plugin: Plugin) -> None:
    plugins = json.dumps([{"name": "chaos-mesh", "location": f"file://{plugin.file}"}])

    answer = host.ask("load", plugins=plugins)

    assert "must be in the format of <namespace>/<name>" in answer.error


def test_type_and_metadata_are_answered(loaded: Host) -> None:
    kind = loaded.call("Type", metric=GOOD)
    metadata = loaded.call("GetMetadata", metric=GOOD)

    assert kind.result == "ChaosMesh"
    assert metadata.error == ""
    assert "error" not in (metadata.result or {})


def test_run_without_an_analysis_run_is_an_error_that_says_so(loaded: Host) -> None:
    answer = loaded.call("Run", run=None, metric=GOOD)

    assert answer.result["phase"] == "Error"
    assert answer.result["message"].startswith("failed to run via plugin: ")
    assert "AnalysisRun" in answer.result["message"]
    assert answer.result["finishedAt"] is not None


@pytest.mark.parametrize("method", ["Resume", "Terminate"])
def test_the_other_methods_without_an_analysis_run_complete(loaded: Host, method: str) -> None:
    measurement = {"phase": "Running", "startedAt": "2026-11-23T12:00:01Z"}

    answer = loaded.call(method, run=None, metric=GOOD, measurement=measurement)

    assert answer.result["phase"] in ("Error", "Inconclusive")
    assert "AnalysisRun" in answer.result["message"]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, "chaosExperimentCRD"),
        ({"chaosExperimentCRD": _TEMPLATE, "timeuot": "5m"}, "timeout"),
        ({"chaosExperimentCRD": _TEMPLATE, "timeout": "soon"}, "timeout"),
        ({"chaosExperimentCRD": 7}, "chaosExperimentCRD"),
        ("a string", "string"),
        ({"chaosExperimentCRD": "a: [1"}, "YAML"),
        ({"chaosExperimentCRD": "kind: Pod\napiVersion: v1\n"}, "chaos-mesh.org"),
    ],
)
def test_a_wrong_config_is_an_error_that_names_it(loaded: Host, config: object, named: str) -> None:
    answer = loaded.call("Run", run=run_of(), metric=_metric(config))

    assert answer.result["phase"] == "Error"
    assert named in answer.result["message"]
    assert "InvalidConfig" in answer.result["message"]


def test_run_answers_at_once_and_resume_answers_the_same_while_the_api_server_is_away(loaded: Host) -> None:
    run = run_of()
    started = loaded.call("Run", run=run, metric=GOOD)
    again = loaded.call("Resume", run=run, metric=GOOD, measurement=started.result)
    ended = loaded.call("Terminate", run=run, metric=GOOD, measurement=started.result)

    assert started.result["phase"] == "Running"
    assert "finishedAt" not in started.result
    assert again.result["startedAt"] == started.result["startedAt"]
    assert ended.result["phase"] in ("Inconclusive", "Error")
    assert ended.result["finishedAt"]


def test_garbage_collect_is_answered(loaded: Host) -> None:
    answer = loaded.call("GarbageCollect", run=run_of(), metric=GOOD, limit=10)

    assert answer.result == {"ErrorString": ""}


def test_large_objects_with_many_fields_arrive(loaded: Host) -> None:
    measurements = [
        {
            "phase": "Successful",
            "startedAt": "2026-11-23T12:00:01Z",
            "finishedAt": "2026-11-23T12:01:01Z",
            "value": json.dumps({"targets": n}),
            "metadata": {f"key-{i}": "x" * 50 for i in range(20)},
        }
        for n in range(200)
    ]
    managed = {"manager": "controller", "operation": "Update", "apiVersion": "argoproj.io/v1alpha1"}
    fields: Json = {"f:metadata": {f"f:{n}": {} for n in range(300)}}
    run = run_of(managedFields=[{**managed, "fieldsType": "FieldsV1", "fieldsV1": fields}] * 5)
    run["spec"]["args"] = [{"name": f"arg-{n}", "value": "v" * 100} for n in range(200)]
    run["spec"]["metrics"] *= 20
    result = {"name": "chaos", "phase": "Running", "count": 0, "measurements": measurements}
    run["status"]["metricResults"] = [result]

    answer = loaded.call("Run", run=run, metric=GOOD)

    assert answer.result["phase"] == "Running"


def test_three_megabytes_in_one_request_arrive(loaded: Host) -> None:
    run = run_of(annotations={"padding": "x" * 3_000_000})

    answers = [loaded.call("Run", run=run, metric=GOOD) for _ in range(2)]

    assert [answer.result["phase"] for answer in answers] == ["Running", "Running"]


def test_a_template_of_three_megabytes_is_refused_and_the_plugin_lives(loaded: Host) -> None:
    huge = {"chaosExperimentCRD": _TEMPLATE + "#" * 3_000_000}

    refused = loaded.call("Run", run=run_of(), metric=_metric(huge))
    after = loaded.call("Type", metric=GOOD)

    assert refused.result["phase"] == "Error"
    assert len(refused.result["message"]) < 2048
    assert after.error == ""


def test_32_callers_at_once_get_each_their_own_answer(loaded: Host) -> None:
    loaded.call("Get", metric=GOOD)
    configs = [{"chaosExperimentCRD": _TEMPLATE, f"unknown-{n:02}-key": "x"} for n in range(32)]
    pending = [
        loaded.send("call", method="Run", run=run_of(n), metric=_metric(config))
        for n, config in enumerate(configs)
    ]

    messages = [future.result(60).result["message"] for future in pending]

    assert [f"unknown-{n:02}-key" in message for n, message in enumerate(messages)] == [True] * 32
    assert len(children(loaded.pid)) == 1


def test_a_killed_plugin_is_started_again_and_its_socket_does_not_stay(loaded: Host, plugin: Plugin) -> None:
    loaded.call("Get", metric=GOOD)
    (first,) = children(loaded.pid)

    os.kill(first, signal.SIGKILL)
    until(lambda: not lives(first))
    until(lambda: loaded.call("Run", run=run_of(), metric=GOOD).error == "")
    (second,) = children(loaded.pid)
    loaded.ask("cleanup")
    until(lambda: not children(loaded.pid))

    assert second != first
    assert files(plugin.scratch) == []


def test_the_end_of_the_controller_ends_the_plugin_and_leaves_nothing(loaded: Host, plugin: Plugin) -> None:
    loaded.call("Get", metric=GOOD)
    (pid,) = children(loaded.pid)
    open_files = files(plugin.scratch)

    loaded.close()
    until(lambda: not lives(pid))

    assert open_files
    assert files(plugin.scratch) == []


def test_a_controller_that_is_killed_leaves_no_plugin(loaded: Host, plugin: Plugin) -> None:
    loaded.call("Get", metric=GOOD)
    (pid,) = children(loaded.pid)

    loaded.kill()
    until(lambda: not lives(pid))

    assert files(plugin.scratch) == []


def test_a_controller_killed_in_the_midst_of_calls_leaves_no_plugin(loaded: Host, plugin: Plugin) -> None:
    loaded.call("Get", metric=GOOD)
    (pid,) = children(loaded.pid)
    padding = {"annotations": {"padding": "x" * 1_000_000}}
    pending = [loaded.send("call", method="Run", run=run_of(n, **padding), metric=GOOD) for n in range(4)]

    loaded.kill()
    until(lambda: not lives(pid))

    assert len(pending) == 4
    assert files(plugin.scratch) == []
