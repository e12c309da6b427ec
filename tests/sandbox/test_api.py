"""The API server over HTTP: answers, texts and rules measured on a real kube-apiserver."""

import ssl
import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import msgspec
import pytest
import yaml

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, rule
from chaosplugin.sandbox.api.faults import where
from chaosplugin.sandbox.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from chaosplugin.sandbox.cluster import Cluster
from tests.sandbox.bed import connect

Running = Callable[..., AbstractAsyncContextManager[Cluster]]

CHAOS = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/podchaos"
RUNS = "/apis/argoproj.io/v1alpha1/namespaces/default/analysisruns"
MAPS = "/api/v1/namespaces/default/configmaps"


def chaos(name: str, **more: Any) -> dict[str, Any]:
    spec = {"action": "pod-failure", "mode": "all", "selector": {"namespaces": ["default"]}} | more
    return {
        "apiVersion": "chaos-mesh.org/v1alpha1",
        "kind": "PodChaos",
        "metadata": {"name": name},
        "spec": spec,
    }


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
        obj = chaos("x")
        obj["metadata"]["finalizers"] = ["example.org/held"]
        await client.ask("POST", CHAOS, obj)
        status, refused = await client.ask("POST", CHAOS, chaos("x"))

        assert (status, refused["reason"]) == (409, "AlreadyExists")
        assert refused["message"] == 'podchaos.chaos-mesh.org "x" already exists'

        await client.ask("DELETE", f"{CHAOS}/x")
        status, refused = await client.ask("POST", CHAOS, chaos("x"))

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
        obj = chaos("x", scheduler={"cron": "@every 30s"})
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
        obj = chaos("x", action="pod-fail")
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
        _, made = await client.ask("POST", CHAOS, chaos("x", selector={}))

        assert made["spec"]["selector"] == {"namespaces": ["default"]}


async def test_experiments_and_analysis_runs_have_no_status_subresource(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.chaos.stop()
        _, made = await client.ask("POST", CHAOS, chaos("x") | {"status": {"experiment": {}}})

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


# -- who may


async def test_the_argo_service_account_may_what_upstream_and_we_give_it(running: Running) -> None:
    async with running() as cluster, connect(cluster, ARGO_ROLLOUTS) as client:
        status, refused = await client.ask("GET", "/api/v1/namespaces/default/pods/x")

        assert status == 403
        assert refused["message"] == (
            f'pods "x" is forbidden: User "{ARGO_ROLLOUTS}" cannot get resource "pods" in API group "" '
            'in the namespace "default"'
        )
        pods = "/api/v1/namespaces/default/pods"
        assert (await client.ask("GET", f"{pods}?fieldSelector=metadata.name=x"))[0] == 200
        assert (await client.ask("GET", "/api/v1/namespaces/kube-system"))[0] == 200
        assert (await client.ask("GET", "/api/v1/namespaces/default"))[0] == 403
        assert (await client.ask("GET", "/api/v1/events"))[0] == 200

        cluster.access.revoke(ARGO_ROLLOUTS)
        status, refused = await client.ask("POST", CHAOS, chaos("x"))

        assert status == 403
        assert refused["message"] == (
            f'podchaos.chaos-mesh.org is forbidden: User "{ARGO_ROLLOUTS}" cannot create resource "podchaos" '
            'in API group "chaos-mesh.org" in the namespace "default"'
        )


async def test_access_reviews_answer_by_the_same_rules(running: Running) -> None:
    async with running() as cluster:
        cluster.add_user("bound", [rule("list watch", "", "pods", "here")])
        async with connect(cluster, "bound") as client:

            async def may(**attributes: str) -> bool:
                path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
                status, answer = await client.ask("POST", path, {"spec": {"resourceAttributes": attributes}})
                assert status == 201
                return bool(answer["status"]["allowed"])

            assert await may(verb="list", resource="pods", namespace="here")
            assert not await may(verb="list", resource="pods", namespace="there")
            assert not await may(verb="list", resource="pods")


async def test_the_manifests_of_deploy_give_what_the_sandbox_gives(running: Running) -> None:
    deploy = Path(__file__).parents[2] / "deploy"
    async with running() as cluster:
        for resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS):
            for folder in ("cluster", "identity"):
                file = deploy / folder / f"{resource.kind.lower()}.yaml"
                cluster.api.create(resource, yaml.safe_load(file.read_text()))
        bound = cluster.access.bound["User", ARGO_ROLLOUTS]

        assert set(bound) == set(PLUGIN_ROLE)

        cluster.access.revoke(ARGO_ROLLOUTS)
        async with connect(cluster, ARGO_ROLLOUTS) as client:
            assert (await client.ask("GET", CHAOS))[0] == 200
            assert (await client.ask("GET", RUNS))[0] == 403

            cluster.api.delete(CLUSTER_ROLE_BINDINGS, "", "chaosplugin")

            assert (await client.ask("GET", CHAOS))[0] == 403


async def test_a_role_binding_counts_in_its_namespace_only(running: Running) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    subjects = [{"kind": "User", "name": "somebody"}]
    async with running() as cluster:
        cluster.add_user("somebody")
        cluster.api.create(ROLES, {"metadata": {"name": "r"}, "rules": rules}, "default")
        binding = {"metadata": {"name": "r"}, "roleRef": reference, "subjects": subjects}
        cluster.api.create(ROLE_BINDINGS, binding, "default")
        async with connect(cluster, "somebody") as client:
            assert (await client.ask("GET", MAPS))[0] == 200
            assert (await client.ask("GET", MAPS.replace("default", "kube-system")))[0] == 403
            assert (await client.ask("GET", "/api/v1/configmaps"))[0] == 403


async def test_chaos_admission_asks_for_update_on_a_patch(running: Running) -> None:
    async with running() as cluster:
        cluster.chaos.stop()
        cluster.add_user("half", [rule("create patch", "chaos-mesh.org", "podchaos")])
        async with connect(cluster, "half") as client:
            status, _ = await client.ask("POST", CHAOS, chaos("x"))

            assert status == 201

            status, refused = await client.patch(f"{CHAOS}/x", {"metadata": {"labels": {"a": "b"}}})

            assert status == 403
            assert refused["message"] == (
                'admission webhook "vauth.kb.io" denied the request: half is forbidden on namespace default'
            )


async def test_a_schedule_without_namespaces_needs_the_whole_cluster(running: Running) -> None:
    path = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/schedules"
    embedded = {"action": "pod-kill", "mode": "one", "selector": {}}
    obj = {
        "metadata": {"name": "s"},
        "spec": {"schedule": "@every 30s", "type": "PodChaos", "podChaos": embedded},
    }
    async with running() as cluster:
        cluster.add_user("local", [rule("*", "chaos-mesh.org", "*", "default")])
        async with connect(cluster, "local") as client:
            status, refused = await client.ask("POST", path, obj)

            assert status == 403
            assert refused["message"].endswith("local is forbidden on cluster")


async def test_without_a_known_token_every_path_is_401(running: Running) -> None:
    async with (
        running() as cluster,
        aiohttp.ClientSession(cluster.url) as session,
        session.get(CHAOS) as response,
    ):
        assert (response.status, (await response.json())["reason"]) == (401, "Unauthorized")
        assert parsedate_to_datetime(response.headers["Date"]).tzinfo is not None


async def test_a_terminating_namespace_takes_nothing_new(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("DELETE", "/api/v1/namespaces/default")
        status, refused = await client.ask("POST", CHAOS, chaos("x"))

        assert status == 403
        assert refused["message"] == (
            'podchaos.chaos-mesh.org "x" is forbidden: unable to create new content in namespace default '
            "because it is being terminated"
        )
        assert (await client.ask("POST", CHAOS.replace("default", "nowhere"), chaos("x")))[0] == 404


async def test_the_kubeconfig_is_private_and_works(running: Running) -> None:
    async with running() as cluster:
        path = cluster.kubeconfig(ARGO_ROLLOUTS, "argo-rollouts")
        config = msgspec.json.decode(path.read_bytes())

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert config["contexts"][0]["context"]["namespace"] == "argo-rollouts"

        server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(server, headers=headers) as session, session.get(RUNS) as response:
            assert response.status == 200


async def test_a_kind_without_its_crd_is_no_path(running: Running) -> None:
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/podchaos.chaos-mesh.org"
    async with running() as cluster, connect(cluster) as client:
        assert (await client.ask("GET", crd))[1]["spec"]["names"]["kind"] == "PodChaos"

        await client.ask("DELETE", crd)

        assert await client.ask("POST", CHAOS, chaos("x")) == (404, "404 page not found\n")
        assert (await client.ask("GET", CHAOS.replace("podchaos", "stresschaos")))[0] == 200


async def test_https_with_a_given_certificate(running: Running, tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=sandbox"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    await anyio.run_process([*command.split(), *files])
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    async with running(tls=server, ca=certificate) as cluster:
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


# -- faults


async def test_the_next_requests_are_answered_as_commanded(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        fault = cluster.faults.answer(503, "upstream connect error", where("create"), times=2)
        first = await client.ask("POST", CHAOS, chaos("x"))
        listed = await client.ask("GET", CHAOS)
        second = await client.ask("POST", CHAOS, chaos("x"))
        third = await client.ask("POST", CHAOS, chaos("x"))

        assert first == second == (503, "upstream connect error")
        assert (listed[0], third[0], fault.left) == (200, 201, 0)


async def test_a_lost_answer_was_performed(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        cluster.faults.lose_answer(where("create"))
        with pytest.raises(aiohttp.ClientError):
            await client.ask("POST", CHAOS, chaos("x"))

        assert (await client.ask("GET", f"{CHAOS}/x"))[0] == 200


async def test_requests_are_remembered(running: Running) -> None:
    async with running() as cluster, connect(cluster) as client:
        await client.ask("GET", f"{CHAOS}/x?a=b")
        seen = cluster.server.seen[-1]

        assert (seen.verb, seen.resource, seen.name, seen.query) == ("get", "podchaos", "x", {"a": "b"})
        assert seen.user == "system:admin"
