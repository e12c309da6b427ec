"""A gate whose pods and experiment live in another cluster, reached by a Secret's credentials only."""

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from chaosplugin.core.analysis import Phase
from chaosplugin.core.policy import Policy
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import SYSTEM
from chaosplugin.sandbox.cluster import Cluster, Settings, start
from tests.provider.gate import HASH, LABEL, NAMESPACE, Gate, clock, config, gate, podchaos
from tests.realbed import pki


@asynccontextmanager
async def far_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Run a second cluster behind TLS, with a ReplicaSet of the canary's hash."""
    folder.mkdir()
    pki.make(folder)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    async with start(clock, folder, Settings(tls=tls, ca=folder / "ca.crt")) as far:
        labels = {"app": "web", LABEL: HASH}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
        made = {"metadata": {"name": f"web-{HASH}", "labels": labels}, "spec": spec}
        far.api.create(resources.REPLICA_SETS, made, NAMESPACE)
        yield far


def give_secret(bed: Gate, far: Cluster, folder: Path, **labels: str) -> None:
    data = {"token": far.token(SYSTEM.name).encode(), "ca.crt": (folder / "ca.crt").read_bytes()}
    metadata = {"name": "far", "labels": {"chaosplugin.io/credentials": "true", **labels}}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    bed.cluster.api.create(resources.SECRETS, {"metadata": metadata, "data": encoded}, NAMESPACE)


async def test_a_gate_in_another_cluster_hits_pods_there_and_is_judged_by_them(tmp_path: Path) -> None:
    folder = tmp_path / "far"
    async with far_cluster(folder) as far:
        host = far.url.removeprefix("https://")
        async with gate(tmp_path, policy=Policy(allow_endpoints=(host,))) as bed:
            bed.deploy()
            give_secret(bed, far, folder)
            own_token = bed.cluster.token("system:serviceaccount:argo-rollouts:argo-rollouts")

            answer = await bed.judge(
                bed.analysis_run(),
                config(podchaos(duration="3s"), chaosMeshEndpoint=far.url, credentials={"secretName": "far"}),
            )

            assert answer.phase is Phase.SUCCESSFUL, answer.message
            hit = [pod.object for pod in far.api.list(resources.PODS, NAMESPACE)]
            assert all(pod["status"]["containerStatuses"][0]["restartCount"] == 2 for pod in hit)
            assert not any(
                status["restartCount"] for pod in bed.pods for status in pod["status"]["containerStatuses"]
            )
            assert own_token not in str(list(far.server.seen))


@pytest.mark.parametrize("missing", ["secret", "label"])
async def test_credentials_that_are_missing_or_not_meant_for_us_are_an_error(
    tmp_path: Path, missing: str
) -> None:
    folder = tmp_path / "far"
    async with far_cluster(folder) as far:
        host = far.url.removeprefix("https://")
        async with gate(tmp_path, policy=Policy(allow_endpoints=(host,))) as bed:
            bed.deploy()
            if missing == "label":
                give_secret(bed, far, folder, **{"chaosplugin.io/credentials": "false"})

            answer = await bed.judge(
                bed.analysis_run(),
                config(podchaos(duration="3s"), chaosMeshEndpoint=far.url, credentials={"secretName": "far"}),
            )

            assert answer.phase is Phase.ERROR, answer.message
            assert ("not found" if missing == "secret" else "not labelled") in answer.message


async def test_a_gate_goes_on_with_the_token_that_replaces_its_own_and_the_next_wants_the_secret(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "far"
    async with far_cluster(folder) as far:
        host = far.url.removeprefix("https://")
        async with (
            gate(tmp_path, policy=Policy(allow_endpoints=(host,))) as bed,
            anyio.create_task_group() as tasks,
        ):
            bed.deploy()
            give_secret(bed, far, folder)
            metric = config(
                podchaos(duration="3s"), chaosMeshEndpoint=far.url, credentials={"secretName": "far"}
            )

            async def rotate() -> None:
                with anyio.fail_after(30):
                    while "observing" not in bed.stages:
                        await anyio.sleep(0.01)
                    old = far.token(SYSTEM.name)
                    user = far.access.tokens.pop(old)
                    far.faults.cut_watches()
                    far.access.tokens["rotated"] = user
                    change = {"data": {"token": base64.b64encode(b"rotated").decode()}}
                    bed.cluster.api.merge(resources.SECRETS, NAMESPACE, "far", change)

            tasks.start_soon(rotate)
            first = await bed.judge(bed.analysis_run(), metric)
            bed.cluster.api.delete(resources.SECRETS, NAMESPACE, "far")
            second = await bed.judge(bed.analysis_run("web-2"), metric)

            assert first.phase is Phase.SUCCESSFUL, first.message
            assert second.phase is Phase.ERROR
            assert second.message.startswith('Denied: read Secret default/far: secrets "far" not found')
            await bed.heard(lambda: not far.api.list(resources.POD_CHAOS))  # it goes after the verdict
