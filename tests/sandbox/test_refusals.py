"""What is refused, in the words of the real server and of Chaos Mesh's webhooks."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import BY_KIND, REPLICA_SETS, Object
from chaosplugin.sandbox.api.verbs import Write
from chaosplugin.sandbox.cluster import Cluster
from tests.sandbox.bed import CHAOS, MAPS, RUNS, connect, pod_chaos

Running = Callable[..., AbstractAsyncContextManager[Cluster]]

OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u", "controller": True}


@pytest.mark.parametrize(
    ("metadata", "code", "text"),
    [
        (
            {"name": "Upper"},
            422,
            'metadata.name: Invalid value: "Upper": a lowercase RFC 1123 subdomain must',
        ),
        ({"name": "x" * 254}, 422, "must be no more than 253 characters"),
        ({"name": "x", "labels": {"a": "b" * 64}}, 422, "must be no more than 63 bytes"),
        ({"name": "x", "labels": {"a": "b c"}}, 422, 'metadata.labels: Invalid value: "b c": a valid label'),
        ({"name": "x", "labels": {"k" * 64: ""}}, 422, "name part must be no more than 63 characters"),
        ({"name": "x", "labels": {"A.b/c": ""}}, 422, 'Invalid value: "A.b/c": prefix part a lowercase RFC'),
        (
            {"name": "x", "annotations": {"a b": ""}},
            422,
            'metadata.annotations: Invalid value: "a b": name part',
        ),
        ({"name": "x", "labels": {"a": 1}}, 400, "ObjectMeta.metadata.labels of type string"),
        ({"name": "x", "finalizers": "one"}, 400, "ObjectMeta.metadata.finalizers of type slice"),
        ({"name": "x", "ownerReferences": [{"kind": "A"}]}, 422, "metadata.ownerReferences[0].uid"),
        (
            {"name": "x", "ownerReferences": [OWNER, OWNER | {"uid": "v"}]},
            422,
            'Only one reference can have Controller set to true. Found "true" in references for ConfigMap/o',
        ),
        ({"name": "x", "resourceVersion": "1"}, 500, "resourceVersion should not be set on objects to be"),
        ({"name": "x", "namespace": "other"}, 400, "namespace of the provided object does not match"),
        ({}, 400, "name or generateName is required"),
        ([], 400, "cannot unmarshal into Go struct field ObjectMeta.metadata"),
    ],
)
async def test_metadata(running: Running, metadata: Any, code: int, text: str) -> None:
    async with running() as cluster, connect(cluster) as client:
        status, refused = await client.ask("POST", RUNS, {"metadata": metadata, "spec": {}})

        assert status == code
        assert text in refused["message"]


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        ("PodChaos", {"mode": "fixed"}, 'parse value field error:strconv.Atoi: parsing "": invalid syntax'),
        (
            "PodChaos",
            {"mode": "fixed-percent", "value": "101"},
            "value of 101 is invalid, Must be (0,100] with mode:fixed-percent",
        ),
        ("PodChaos", {"duration": "1d"}, 'time: unknown unit "d" in duration "1d"'),
        ("StressChaos", {}, "missing stressors"),
        ("HTTPChaos", {"target": "Request"}, "port 0 is not supported"),
        ("IOChaos", {"action": "fault", "volumePath": "/d"}, "errno 0 is not supported"),
        ("TimeChaos", {"timeOffset": "soon"}, 'parse timeOffset field error: time: invalid duration "soon"'),
        (
            "NetworkChaos",
            {"action": "loss", "loss": {"loss": "1"}, "direction": "both", "externalTargets": ["a.b"]},
            "external targets cannot be used with `from` and `both` direction in netem action yet",
        ),
        (
            "NetworkChaos",
            {"action": "loss", "loss": {"loss": "1"}, "direction": "from"},
            "`from` and `both` direction cannot be used when targets is empty in netem action",
        ),
    ],
)
async def test_chaos_webhooks(running: Running, kind: str, spec: Object, text: str) -> None:
    async with running() as cluster:
        resource = BY_KIND["chaos-mesh.org/v1alpha1", kind]
        shared = {"mode": "all", "selector": {}} | ({"action": "pod-failure"} if kind == "PodChaos" else {})
        with pytest.raises(ApiError) as refused:
            cluster.api.create(resource, {"metadata": {"name": "x"}, "spec": shared | spec}, "default")

        assert refused.value.code == 403
        assert str(refused.value).startswith(
            f'admission webhook "v{kind.lower()}.kb.io" denied the request: '
        )
        assert text in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "spec", "text"),
    [
        ("PodChaos", {"action": 5}, 'Invalid value: "integer": spec.action in body must be of type string'),
        ("PodChaos", {"gracePeriod": -1}, "spec.gracePeriod in body should be greater than or equal to 0"),
        ("PodChaos", {"gracePeriod": True}, 'Invalid value: "boolean"'),
        ("NetworkChaos", {"delay": {"latency": "1d"}}, "spec.delay.latency in body should match '^[0-9]+"),
        ("NetworkChaos", {"delay": {}}, "spec.delay.latency: Required value"),
        ("TimeChaos", {}, "spec.timeOffset: Required value"),
    ],
)
async def test_schemas(running: Running, kind: str, spec: Object, text: str) -> None:
    async with running() as cluster:
        resource = BY_KIND["chaos-mesh.org/v1alpha1", kind]
        action = {"PodChaos": "pod-kill", "NetworkChaos": "delay"}.get(kind)
        shared = {"mode": "all", "selector": {}} | ({"action": action} if action else {})
        with pytest.raises(ApiError) as refused:
            cluster.api.create(resource, {"metadata": {"name": "x"}, "spec": shared | spec}, "default")

        assert refused.value.code == 422
        assert text in str(refused.value)


async def test_a_replica_set_must_have_what_its_controller_needs(running: Running) -> None:
    async with running() as cluster:
        with pytest.raises(ApiError, match=r"spec\.selector: Required value, spec\.template: Required value"):
            cluster.api.create(REPLICA_SETS, {"metadata": {"name": "x"}, "spec": {}}, "default")


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("POST", RUNS, {"kind": "Rollout", "metadata": {"name": "x"}}, 400),
        ("POST", RUNS, [], 400),
        ("POST", f"{RUNS}/x", {}, 405),
        ("PUT", RUNS, {}, 405),
        ("PUT", f"{RUNS}/x", {"metadata": {"name": "y", "resourceVersion": "1"}}, 400),
        ("DELETE", f"{RUNS}/x", {"propagationPolicy": "Sideways"}, 400),
        ("DELETE", f"{RUNS}/x", [], 400),
        ("GET", f"{RUNS}?limit=many", None, 400),
        ("GET", f"{RUNS}?continue=nothing", None, 400),
        ("GET", f"{RUNS}?labelSelector=a%20b", None, 400),
        ("GET", f"{RUNS}?fieldSelector=metadata.name", None, 400),
        ("GET", f"{RUNS}?resourceVersion=99999", None, 504),
        ("GET", "/apis/argoproj.io/v1alpha1/analysisruns/x", None, 404),
        ("GET", "/apis/example.org/v1/things", None, 404),
        ("GET", "/nothing", None, 404),
    ],
)
async def test_requests_that_make_no_sense(
    running: Running, method: str, path: str, body: object, code: int
) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})

        assert (await client.ask(method, path, body))[0] == code


async def test_a_dry_run_leaves_nothing(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        status, made = await client.ask("POST", f"{CHAOS}?dryRun=All", pod_chaos("x"))

        assert (status, made["metadata"]["name"]) == (201, "x")
        assert (await client.ask("GET", f"{CHAOS}/x"))[0] == 404
        assert cluster.api.create(BY_KIND["v1", "Secret"], {"metadata": {"name": "s"}}, "default").revision

        cluster.api.merge(BY_KIND["v1", "Secret"], "default", "s", {"type": "a"}, write=Write(dry_run=True))

        assert "type" not in cluster.api.get(BY_KIND["v1", "Secret"], "default", "s").object


async def test_a_collection_is_deleted_by_selector(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        for name, labels in (("a", {"app": "web"}), ("b", {})):
            await client.ask("POST", MAPS, {"metadata": {"name": name, "labels": labels}})
        status, _ = await client.ask("DELETE", f"{MAPS}?labelSelector=app=web")
        _, listed = await client.ask("GET", MAPS)

        assert (status, [each["metadata"]["name"] for each in listed["items"]]) == (200, ["b"])


async def test_discovery_tells_what_is_served(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        assert (await client.ask("GET", "/version"))[1]["minor"] == "34"
        assert (await client.ask("GET", "/api"))[1]["versions"] == ["v1"]

        groups = {group["name"] for group in (await client.ask("GET", "/apis"))[1]["groups"]}
        kinds = (await client.ask("GET", "/apis/chaos-mesh.org/v1alpha1"))[1]["resources"]
        core = {each["name"] for each in (await client.ask("GET", "/api/v1"))[1]["resources"]}

        assert {"apps", "argoproj.io", "chaos-mesh.org"} <= groups
        assert {"name": "podchaos", "kind": "PodChaos", "namespaced": True}.items() <= kinds[0].items()
        assert {"pods", "pods/status"} <= core
