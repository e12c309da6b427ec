"""The API server over HTTP: answers, texts and rules measured on a real kube-apiserver."""

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from io import BytesIO
from pathlib import Path

import aiohttp
import msgspec
import pytest

from chaosplugin.sandbox.cluster import Cluster
from tests.realbed import pki
from tests.sandbox.bed import CHAOS, MAPS, RUNS, connect, pod_chaos

Running = Callable[..., AbstractAsyncContextManager[Cluster]]


async def test_a_created_object_has_what_the_server_adds(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        status, made = await client.ask("POST", RUNS, {"metadata": {"generateName": "run-"}, "spec": {}})
        meta = made["metadata"]

        assert status == 201
        assert (made["apiVersion"], made["kind"]) == ("argoproj.io/v1alpha1", "AnalysisRun")
        assert len(meta["name"]) == len("run-") + 5
        assert len(meta["creationTimestamp"]) == len("2026-11-23T17:05:57Z")
        assert meta["generation"] == 1
        assert meta["uid"]
        assert int(meta["resourceVersion"]) > 0

        assert await client.ask("GET", f"{RUNS}/{meta['name']}") == (200, made)


async def test_a_taken_name_is_refused_as_the_real_one_words_it(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.chaos.stop()
        obj = pod_chaos("x")
        obj["metadata"]["finalizers"] = ["example.org/held"]
        await client.ask("POST", CHAOS, obj)
        status, refused = await client.ask("POST", CHAOS, pod_chaos("x"))

        assert (status, refused["reason"]) == (409, "AlreadyExists")
        assert refused["message"] == 'podchaos.chaos-mesh.org "x" already exists'

        await client.ask("DELETE", f"{CHAOS}/x")
        status, refused = await client.ask("POST", CHAOS, pod_chaos("x"))

        assert (status, refused["reason"]) == (409, "AlreadyExists")
        assert refused["message"] == 'object is being deleted: podchaos.chaos-mesh.org "x" already exists'


async def test_a_patch_from_an_old_version_conflicts_even_if_it_changes_nothing(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        _, made = await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})
        version = made["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version, "labels": {"a": "b"}}}
        status, patched = await client.patch(f"{RUNS}/x", change)

        assert (status, patched["metadata"]["labels"]) == (200, {"a": "b"})

        status, refused = await client.patch(f"{RUNS}/x", change)

        assert (status, refused["reason"]) == (409, "Conflict")
        assert refused["message"] == (
            'Operation cannot be fulfilled on analysisruns.argoproj.io "x": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )


async def test_a_patch_that_changes_nothing_makes_no_version(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})
        _, first = await client.patch(f"{RUNS}/x", {"metadata": {"labels": {"a": "b"}}})
        _, second = await client.patch(f"{RUNS}/x", {"metadata": {"labels": {"a": "b"}}})

        assert second == first


async def test_a_patch_of_another_uid_is_immutable(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})
        status, refused = await client.patch(f"{RUNS}/x", {"metadata": {"uid": "other"}})

        assert (status, refused["reason"]) == (422, "Invalid")
        assert refused["message"].endswith("field is immutable")


async def test_annotations_are_bounded(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})
        fits = {"metadata": {"annotations": {"k": "v" * (262_144 - 1)}}}
        status, _ = await client.patch(f"{RUNS}/x", fits)

        assert status == 200

        status, refused = await client.patch(f"{RUNS}/x", {"metadata": {"annotations": {"l": ""}}})

        assert status == 422
        assert "metadata.annotations: Too long: may not be more than 262144 bytes" in refused["message"]


async def test_strict_names_every_unknown_and_duplicate_field(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        obj = pod_chaos("x", scheduler={"cron": "@every 30s"})
        obj["spec"]["selector"]["labelSelector"] = {}
        status, refused = await client.ask("POST", f"{CHAOS}?fieldValidation=Strict", obj)

        assert (status, refused["reason"]) == (400, "BadRequest")
        assert refused["message"] == (
            'PodChaos in version "v1alpha1" cannot be handled as a PodChaos: strict decoding error: '
            'unknown field "spec.scheduler", unknown field "spec.selector.labelSelector"'
        )

        status, made = await client.ask("POST", CHAOS, obj)

        assert (status, "scheduler" in made["spec"]) == (201, False)

        raw = (
            b'{"spec":{"mode":"all","mode":"one","action":"pod-kill","selector":{}},"metadata":{"name":"y"}}'
        )
        async with client.session.post(
            f"{CHAOS}?fieldValidation=Strict", data=raw, headers={"Content-Type": "application/json"}
        ) as response:
            refused = await response.json()

        assert 'strict decoding error: duplicate field "spec.mode"' in refused["message"]


async def test_the_schema_refuses_what_is_required_and_enumerated(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        obj = pod_chaos("x", action="pod-fail")
        del obj["spec"]["selector"]
        status, refused = await client.ask("POST", CHAOS, obj)

        assert status == 422
        assert refused["message"] == (
            'PodChaos.chaos-mesh.org "x" is invalid: [spec.selector: Required value, '
            'spec.action: Unsupported value: "pod-fail": '
            'supported values: "pod-kill", "pod-failure", "container-kill"]'
        )


async def test_empty_namespaces_become_the_objects_own(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        _, made = await client.ask("POST", CHAOS, pod_chaos("x", selector={}))

        assert made["spec"]["selector"] == {"namespaces": ["default"]}


async def test_experiments_and_analysis_runs_have_no_status_subresource(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.chaos.stop()
        _, made = await client.ask("POST", CHAOS, pod_chaos("x") | {"status": {"experiment": {}}})

        assert made["status"] == {"experiment": {}}
        assert (await client.ask("GET", f"{CHAOS}/x/status"))[0] == 404
        assert (await client.ask("GET", f"{RUNS}/x/status"))[0] == 404

        _, changed = await client.patch(f"{CHAOS}/x", {"status": {"experiment": {"desiredPhase": "Run"}}})

        assert changed["metadata"]["generation"] == 2


async def test_a_status_subresource_keeps_spec_and_status_apart(running: Running) -> None:
    rollouts = "/apis/argoproj.io/v1alpha1/namespaces/default/rollouts"
    async with running() as cluster, connect(cluster) as client:
        obj = {"metadata": {"name": "x"}, "spec": {"replicas": 1}, "status": {"phase": "made up"}}
        _, made = await client.ask("POST", rollouts, obj)
        both = {"spec": {"replicas": 2}, "status": {"phase": "Healthy"}}
        _, told = await client.patch(f"{rollouts}/x/status", both)
        _, asked = await client.patch(f"{rollouts}/x", both | {"status": {"phase": "Degraded"}})

        assert "status" not in made
        assert (told["spec"]["replicas"], told["status"]["phase"], told["metadata"]["generation"]) == (
            1,
            "Healthy",
            1,
        )
        assert (asked["spec"]["replicas"], asked["status"]["phase"], asked["metadata"]["generation"]) == (
            2,
            "Healthy",
            2,
        )


async def test_delete_minds_the_uid(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        _, made = await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})
        uid = made["metadata"]["uid"]
        status, refused = await client.ask("DELETE", f"{RUNS}/x", {"preconditions": {"uid": "other"}})

        assert (status, refused["reason"]) == (409, "Conflict")
        assert refused["message"].endswith(
            f"the UID in the precondition (other) does not match the UID in record ({uid}). "
            "The object might have been deleted and then recreated"
        )
        assert (await client.ask("DELETE", f"{RUNS}/x", {"preconditions": {"uid": uid}}))[0] == 200
        assert (await client.ask("DELETE", f"{RUNS}/x", {"preconditions": {"uid": uid}}))[0] == 404


async def test_finalizers_hold_and_release_and_cannot_be_added_late(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", RUNS, {"metadata": {"name": "x", "finalizers": ["a.b/c"]}, "spec": {}})
        status, left = await client.ask("DELETE", f"{RUNS}/x")

        assert (status, "deletionTimestamp" in left["metadata"]) == (200, True)

        status, refused = await client.patch(f"{RUNS}/x", {"metadata": {"finalizers": ["a.b/c", "d.e/f"]}})

        assert status == 422
        assert "no new finalizers can be added if the object is being deleted" in refused["message"]
        assert (await client.patch(f"{RUNS}/x", {"metadata": {"finalizers": []}}))[0] == 200
        assert (await client.ask("GET", f"{RUNS}/x"))[0] == 404


async def test_json_patches_work_and_strategic_ones_are_415(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("POST", RUNS, {"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {}})
        operations = [
            {"op": "test", "path": "/metadata/labels/a", "value": "b"},
            {"op": "add", "path": "/metadata/labels/c~1d", "value": "e"},
            {"op": "remove", "path": "/metadata/labels/a"},
        ]
        status, patched = await client.ask("PATCH", f"{RUNS}/x", operations, "application/json-patch+json")

        assert (status, patched["metadata"]["labels"]) == (200, {"c/d": "e"})

        status, _ = await client.ask("PATCH", f"{RUNS}/x", operations, "application/json-patch+json")

        assert status == 422
        assert (await client.ask("PATCH", f"{RUNS}/x", {}, "application/strategic-merge-patch+json"))[
            0
        ] == 415


async def test_put_wants_the_version_of_a_custom_resource(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        _, made = await client.ask("POST", RUNS, {"metadata": {"name": "x"}, "spec": {}})
        made["spec"] = {"terminate": True}
        status, put = await client.ask("PUT", f"{RUNS}/x", made)

        assert (status, put["metadata"]["generation"]) == (200, 2)
        assert (await client.ask("PUT", f"{RUNS}/x", made))[0] == 409

        del made["metadata"]["resourceVersion"]

        assert (await client.ask("PUT", f"{RUNS}/x", made))[0] == 422


async def test_pages_cover_the_list_and_their_tokens_expire(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        for number in range(5):
            await client.ask("POST", RUNS, {"metadata": {"name": f"x{number}"}, "spec": {}})
        names: list[str] = []
        token = ""
        while True:
            _, listed = await client.ask("GET", f"{RUNS}?limit=2&continue={token}")
            names += [each["metadata"]["name"] for each in listed["items"]]
            token = listed["metadata"].get("continue", "")
            if not token:
                break
            kept = token

        assert names == [f"x{number}" for number in range(5)]
        assert listed["kind"] == "AnalysisRunList"

        cluster.faults.expire()
        status, refused = await client.ask("GET", f"{RUNS}?limit=2&continue={kept}")

        assert (status, refused["reason"]) == (410, "Expired")


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("a=1", ["x"]),
        ("a!=1", ["y", "z"]),
        ("a in (1, 2)", ["x", "y"]),
        ("a notin (1),a", ["y"]),
        ("!a", ["z"]),
        ("a", ["x", "y"]),
        ("a==2,b=3", ["y"]),
    ],
)
async def test_label_selectors(running: Running, selector: str, names: list[str]) -> None:
    async with running() as cluster, connect(cluster) as client:
        for name, labels in (("x", {"a": "1"}), ("y", {"a": "2", "b": "3"}), ("z", {})):
            await client.ask("POST", MAPS, {"metadata": {"name": name, "labels": labels}})
        async with client.session.get(MAPS, params={"labelSelector": selector}) as response:
            listed = await response.json()

        assert [each["metadata"]["name"] for each in listed["items"]] == names
        assert "kind" not in listed["items"][0]


async def test_field_selectors_pick_and_unknown_ones_are_refused(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        for name in ("x", "y"):
            await client.ask("POST", RUNS, {"metadata": {"name": name}, "spec": {}})
        _, listed = await client.ask("GET", f"{RUNS}?fieldSelector=metadata.name=y")
        status, refused = await client.ask("GET", f"{RUNS}?fieldSelector=spec.terminate=true")

        assert [each["metadata"]["name"] for each in listed["items"]] == ["y"]
        assert status == 400
        assert refused["message"].endswith("field label not supported: spec.terminate")


async def test_a_kind_without_its_crd_is_no_path(running: Running) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/podchaos.chaos-mesh.org"
    async with running() as cluster, connect(cluster) as client:
        assert (await client.ask("GET", crd))[1]["spec"]["names"]["kind"] == "PodChaos"

        await client.ask("DELETE", crd)

        assert await client.ask("POST", CHAOS, pod_chaos("x")) == (404, "404 page not found\n")
        assert (await client.ask("GET", CHAOS.replace("podchaos", "stresschaos")))[0] == 200


async def test_https_with_a_given_certificate(running: Running, tmp_path: Path) -> None:
    pki.make(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    async with running(tls=server, ca=tmp_path / "ca.crt") as cluster:
        config = msgspec.json.decode(cluster.kubeconfig().read_bytes())["clusters"][0]["cluster"]
        trusted = ssl.create_default_context(cafile=config["certificate-authority"])
        headers = {"Authorization": f"Bearer {cluster.token()}"}
        async with (
            aiohttp.ClientSession(config["server"], headers=headers) as session,
            session.get("/version", ssl=trusted) as response,
        ):
            assert config["server"].startswith("https://127.0.0.1:")
            assert response.status == 200


async def test_bodies_are_bounded_in_size_and_depth(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        headers = {"Content-Type": "application/json"}
        async with client.session.post(MAPS, data=b"[" * 100_000, headers=headers) as response:
            assert response.status == 400
        async with client.session.post(
            MAPS, data=BytesIO(b" " * (3 * 1024 * 1024 + 1)), headers=headers
        ) as response:
            assert response.status == 413
