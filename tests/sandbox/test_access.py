"""Who may do what: tokens, rules, RBAC objects, Chaos Mesh's own admission."""

import stat
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import msgspec
import yaml

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, PLUGIN_ROLE, rule
from chaosplugin.sandbox.api.resources import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from chaosplugin.sandbox.cluster import Cluster
from tests.sandbox.bed import CHAOS, MAPS, RUNS, connect, pod_chaos

Running = Callable[..., AbstractAsyncContextManager[Cluster]]


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
        status, refused = await client.ask("POST", CHAOS, pod_chaos("x"))

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
            status, _ = await client.ask("POST", CHAOS, pod_chaos("x"))

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
        status, refused = await client.ask("POST", CHAOS, pod_chaos("x"))

        assert status == 403
        assert refused["message"] == (
            'podchaos.chaos-mesh.org "x" is forbidden: unable to create new content in namespace default '
            "because it is being terminated"
        )
        assert (await client.ask("POST", CHAOS.replace("default", "nowhere"), pod_chaos("x")))[0] == 404


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
