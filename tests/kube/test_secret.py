"""An endpoint's Secret that changes, breaks or goes away while it is in use."""

import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from chaosplugin.kube.client import KubernetesCluster, connect_endpoint
from chaosplugin.kube.secret import SecretCredential
from chaosplugin.kube.session import Limits
from chaosplugin.provider.ports import ClusterError, Denied, Invalid, NotFound, Unavailable
from tests.kube.conftest import MANIFEST, Script, Time, by_token, clock, in_one_task, peer_name, tokens
from tests.realbed.pki import make as make_pki
from tests.realbed.pki import make_client

LABELS = {"chaosplugin.io/credentials": "true"}


class Secret:
    """A Secret that somebody edits; it counts how often it is read."""

    def __init__(self, **data: bytes) -> None:
        self.labels: Mapping[str, str] = LABELS
        self.data: dict[str, bytes] | None = data
        self.reads = 0

    async def __call__(self) -> tuple[Mapping[str, str], Mapping[str, bytes]]:
        self.reads += 1
        if self.data is None:
            raise NotFound('read Secret shop/far: secrets "far" not found (HTTP 404)')
        return self.labels, self.data


@pytest.fixture
def secret(pki: Path) -> Secret:
    return Secret(token=b"good", **{"ca.crt": (pki / "ca.crt").read_bytes()})


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def credential(tls_script: Script, secret: Secret, time: Time) -> SecretCredential:
    tls_script.always = by_token
    return SecretCredential(tls_script.url, "shop/far", secret, monotonic=time)


@pytest.fixture
async def far(credential: SecretCredential) -> AsyncIterator[KubernetesCluster]:
    limits = Limits(total_s=0.5, first_delay_s=0.01)
    async with in_one_task(connect_endpoint(credential, clock=clock, limits=limits)) as far:
        yield far


async def test_a_token_that_is_refused_is_replaced_by_the_one_in_the_secret(
    far: KubernetesCluster, tls_script: Script, secret: Secret
) -> None:
    assert secret.data is not None

    async def another(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer better":
            return web.json_response({"metadata": {"name": "x"}})
        return web.json_response({"code": 401, "message": "Unauthorized"}, status=401)

    await far.read_rollout("shop", "x")
    tls_script.always = another
    secret.data["token"] = b"better"
    for _ in range(3):
        await far.read_rollout("shop", "x")

    assert tokens(tls_script.seen) == ["Bearer good"] * 2 + ["Bearer better"] * 3
    assert secret.reads == 2


async def test_a_token_that_is_accepted_is_never_looked_up(
    far: KubernetesCluster, secret: Secret, time: Time
) -> None:
    for time.now in range(0, 1000, 100):
        await far.read_rollout("shop", "x")

    assert secret.reads == 1


async def test_a_wrong_token_is_told_with_the_name_of_its_secret(
    credential: SecretCredential, secret: Secret, time: Time
) -> None:
    assert secret.data is not None
    secret.data["token"] = b"wrong"
    async with connect_endpoint(credential, clock=clock) as far:
        for _ in range(5):
            with pytest.raises(Denied, match=r"Unauthorized \(HTTP 401\); shown .* Secret shop/far$"):
                await far.read_rollout("shop", "x")
        assert secret.reads == 2

        time.now = 10
        secret.data = None
        for _ in range(5):
            with pytest.raises(Denied, match=r"Secret shop/far, and now: read Secret .* not found"):
                await far.read_rollout("shop", "x")
        assert secret.reads == 3

    assert "wrong" not in repr(credential)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (None, NotFound, "not found"),
        ({}, Invalid, "neither a token nor a client certificate"),
        ({"token": b"t", "ca.crt": b"rubbish"}, Invalid, "CA certificate"),
        ({"token": b"t", "password": b"p"}, Invalid, "'password' is refused"),
    ],
    ids=["deleted", "emptied", "a broken CA", "another key"],
)
async def test_a_gate_that_begins_wants_the_secret_as_it_is_and_others_go_on(
    far: KubernetesCluster,
    credential: SecretCredential,
    secret: Secret,
    change: dict[str, bytes] | None,
    error: type[ClusterError],
    says: str,
) -> None:
    secret.data = change

    with pytest.raises(error, match=says):
        await credential.refresh()

    assert (await far.read_rollout("shop", "x")).metadata.name == "x"


async def test_the_label_that_is_taken_away_takes_effect(
    credential: SecretCredential, secret: Secret
) -> None:
    await credential.refresh()
    secret.labels = {}

    with pytest.raises(Invalid, match="not labelled"):
        await credential.refresh()


async def test_a_rotated_authority_and_client_certificate_come_from_the_secret(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, time: Time
) -> None:
    make_pki(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tmp_path / "ca.crt")
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    successor = tmp_path_factory.mktemp("successor")
    make_pki(successor)

    def held(authority: Path, name: str) -> dict[str, bytes]:
        certificate, key = make_client(tmp_path, name)
        return {"tls.crt": certificate, "tls.key": key, "ca.crt": (authority / "ca.crt").read_bytes()}

    secret = Secret(**held(tmp_path, "anna"))
    script = Script()
    script.always = peer_name
    limits = Limits(total_s=0.5, first_delay_s=0.01)
    async with script.serve(tls):
        credential = SecretCredential(script.url, "shop/far", secret, monotonic=time)
        async with connect_endpoint(credential, clock=clock, limits=limits) as far:
            assert (await far.create_chaos(MANIFEST)).metadata.name == "anna"
            tls.load_cert_chain(successor / "tls.crt", successor / "tls.key")
            with pytest.raises(Unavailable, match="certificate verify failed"):
                await far.create_chaos(MANIFEST)
            secret.data = held(successor, "ben")
            time.now = 10

            assert (await far.create_chaos(MANIFEST)).metadata.name == "ben"
