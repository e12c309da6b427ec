import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from chaosplugin.core.objects import ChaosObject
from chaosplugin.core.trace import Trace
from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.session import Limits
from chaosplugin.provider.facts import Gate, gate
from chaosplugin.provider.ports import (
    Access,
    AlreadyExists,
    ClusterError,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Overdue,
    Unavailable,
)
from tests.kube.answers import OBJECT, answer, drop, refuse
from tests.kube.conftest import Script, Step, clock, in_one_task, kubeconfig

LIMITS = Limits(try_s=5, total_s=5, create_s=5, first_delay_s=0.01)


MANIFEST = {**OBJECT, "apiVersion": "chaos-mesh.org/v1alpha1", "spec": {}}


@pytest.fixture
async def cluster(script_config: str) -> AsyncIterator[KubernetesCluster]:
    async with in_one_task(connect(script_config, clock=clock, limits=LIMITS)) as cluster:
        yield cluster


def read(cluster: KubernetesCluster) -> Awaitable[ChaosObject]:
    return cluster.read_chaos("PodChaos", "shop", "x")


def create(cluster: KubernetesCluster) -> Awaitable[ChaosObject]:
    return cluster.create_chaos(MANIFEST)


def patch(cluster: KubernetesCluster) -> Awaitable[ChaosObject]:
    return cluster.patch_chaos("PodChaos", "shop", "x", {"metadata": {"labels": {"a": "b"}}})


def delete(cluster: KubernetesCluster) -> Awaitable[None]:
    return cluster.delete_chaos("PodChaos", "shop", "x", "u")


Call = Callable[[KubernetesCluster], Awaitable[object]]


CALLS: tuple[Call, ...] = (read, create)


@pytest.mark.parametrize("call", [read, patch, delete])
@pytest.mark.parametrize(
    "trouble",
    [
        refuse(429, "TooManyRequests", "slow down", Retry_After="0"),
        refuse(500, "InternalError", "etcdserver: request timed out"),
        refuse(500, "InternalError", 'failed calling webhook "vpodchaos.kb.io": no endpoints'),
        answer("upstream connect error", 503),
        answer("<html>Bad Gateway</html>", 502),
        refuse(504, "Timeout", "too slow"),
        answer("<html>sign in</html>", 200),
        drop,
    ],
)
async def test_what_may_be_said_twice_is_repeated_until_the_server_is_well(
    script: Script, cluster: KubernetesCluster, call: Call, trouble: Step
) -> None:
    script.then(trouble, trouble, answer(OBJECT))

    await call(cluster)

    assert len(script.seen) == 3
    assert len({(seen.method, seen.path, seen.body) for seen in script.seen}) == 1


@pytest.mark.parametrize(
    ("trouble", "sent"),
    [
        (drop, True),
        (answer("upstream connect error", 503), True),
        (refuse(500, "InternalError", "etcdserver: request timed out"), True),
        (refuse(500, "InternalError", 'failed calling webhook "vpodchaos.kb.io"'), False),
        (answer("<html>sign in</html>", 200), True),
    ],
)
async def test_a_create_is_sent_once_and_says_whether_it_may_have_arrived(
    script: Script, cluster: KubernetesCluster, trouble: Step, sent: bool
) -> None:
    script.then(trouble, answer(OBJECT))

    with pytest.raises(Unavailable) as caught:
        await create(cluster)

    assert caught.value.sent is sent
    assert len(script.seen) == 1
    assert script.seen[0].query == {"fieldValidation": "Strict"}


async def test_a_create_that_was_turned_away_unseen_is_sent_again(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(refuse(429, "TooManyRequests", "slow down", Retry_After="0"), answer(OBJECT))

    assert (await create(cluster)).metadata.uid == "u"


async def test_a_create_never_goes_over_a_connection_that_was_kept(
    script: Script, cluster: KubernetesCluster
) -> None:
    ports: list[int] = []

    async def note(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        return web.json_response(OBJECT)

    script.always = note
    for _ in range(2):
        await read(cluster)
        await create(cluster)

    assert ports[0] == ports[2]
    assert len(set(ports)) == 3


async def test_an_api_server_that_is_away_is_unavailable_and_nothing_was_sent(tmp_path: Path) -> None:
    limits = Limits(try_s=0.3, total_s=0.3, create_s=0.3, first_delay_s=0.01)
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig("http://127.0.0.1:1", {"token": "t"}))

    async with connect(str(file), clock=clock, limits=limits) as cluster:
        for call in CALLS:
            with pytest.raises(Unavailable, match=r"no answer from http://127\.0\.0\.1:1") as caught:
                await call(cluster)
            assert not caught.value.sent
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_what_keeps_a_connection_away_is_told_without_the_insides_of_a_library(
    scheme: str, tmp_path: Path
) -> None:
    """The text is a gate's message: it must be the same each time."""
    file = tmp_path / "kubeconfig"
    file.write_text(kubeconfig(f"{scheme}://127.0.0.1:1", {"token": "t"}))

    async with connect(str(file), clock=clock, limits=Limits(total_s=0.1)) as cluster:
        with pytest.raises(Unavailable) as caught:
            await read(cluster)

    assert str(caught.value).endswith(
        f"no answer from {scheme}://127.0.0.1:1: Connect call failed ('127.0.0.1', 1)"
    )


async def test_a_server_that_hangs_is_given_up_in_time(script_config: str, script: Script) -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await anyio.sleep_forever()
        raise AssertionError

    script.always = hang
    limits = Limits(try_s=0.1, total_s=0.2, create_s=0.1, first_delay_s=0.01)
    async with connect(script_config, clock=clock, limits=limits) as cluster:
        with anyio.fail_after(10):
            for call in CALLS:
                with pytest.raises(Unavailable) as caught:
                    await call(cluster)
                assert caught.value.sent


NO_KIND = answer("404 page not found\n", 404)


DENIAL = 'admission webhook "vpodchaos.kb.io" denied the request: Spec.Duration: bad'


PANIC = 'admission webhook "vschedule.kb.io" denied the request: panic: runtime error'


ENDING = 'podchaos.chaos-mesh.org "x" is forbidden: unable to create new content in namespace shop because '


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (refuse(400, "BadRequest", "strict decoding error"), Invalid, "strict decoding error"),
        (refuse(422, "Invalid", "spec.mode: Required"), Invalid, "spec.mode"),
        (refuse(413, "RequestEntityTooLarge", "too large"), Invalid, "too large"),
        (refuse(403, "Forbidden", "cannot create"), Denied, "cannot create"),
        (refuse(401, "Unauthorized", "Unauthorized"), Denied, "Unauthorized"),
        (refuse(403, "Forbidden", DENIAL), Denied, "Spec.Duration"),
        (refuse(500, "", PANIC), Denied, "panic"),
        (refuse(403, "Forbidden", ENDING + "it is being terminated"), Denied, "being terminated"),
        (refuse(409, "AlreadyExists", '"x" already exists'), AlreadyExists, "already exists"),
        (refuse(409, "Conflict", "the object has been modified"), Conflict, "modified"),
        (refuse(404, "NotFound", 'namespaces "shop" not found'), NotFound, "namespaces"),
        (NO_KIND, NotFound, "404 page not found"),
        (answer("", 302, Location="https://elsewhere.example/"), ClusterError, "redirect"),
        (answer("I am a teapot", 418), ClusterError, "teapot"),
    ],
)
async def test_a_refusal_is_told_in_one_line_with_its_object(
    script: Script, cluster: KubernetesCluster, step: Step, error: type[ClusterError], says: str
) -> None:
    script.always = step

    with pytest.raises(error) as caught:
        await create(cluster)

    assert type(caught.value) is error
    assert says in str(caught.value)
    assert str(caught.value).startswith("create PodChaos shop/x: ")
    assert "\n" not in str(caught.value)
    assert len(script.seen) <= 2


async def test_a_kind_that_is_not_installed_is_told_apart_from_an_object_that_is_not_there(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(
        NO_KIND,
        refuse(404, "NotFound", "the server could not find the requested resource", name=""),
        refuse(404, "NotFound", '"x" not found'),
    )

    for expected in (True, True, False):
        with pytest.raises(NotFound) as caught:
            await read(cluster)
        assert caught.value.no_kind is expected


async def test_no_message_is_long_or_holds_a_credential(script: Script, cluster: KubernetesCluster) -> None:
    script.then(
        answer("your headers were: Authorization: Bearer first-token\n" * 1000, 403),
        refuse(403, "Forbidden", "token eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl is bad " + "x" * 5000),
        answer("yours is none, as is Bearer others-token", 403),
    )

    for _ in range(3):
        with pytest.raises(Denied) as caught:
            await read(cluster)
        assert "first-token" not in str(caught.value)
        assert "others-token" not in str(caught.value)
        assert "eyJ" not in str(caught.value)
        assert len(str(caught.value)) < 400


async def test_an_endless_answer_is_cut_off(script: Script, cluster: KubernetesCluster) -> None:
    async def bomb(_: web.Request) -> web.StreamResponse:
        body = gzip.compress(b"[" * (64 << 20))
        return web.Response(body=body, headers={"Content-Encoding": "gzip"})

    script.always = bomb

    with pytest.raises(ClusterError, match="more than 16777216 bytes"):
        await read(cluster)


async def test_answers_that_are_cut_off_are_asked_for_again(
    script: Script, cluster: KubernetesCluster
) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"kind": "Po')
        assert request.transport is not None
        request.transport.abort()
        return response

    script.then(cut, answer(OBJECT))

    assert (await read(cluster)).metadata.uid == "u"


async def test_access_is_asked_once_in_ten_minutes(script: Script, cluster: KubernetesCluster) -> None:
    script.then(*(answer({"status": {"allowed": allowed}}) for allowed in (True, False, True)))
    everywhere, here = Access("list", "", "pods"), Access("watch", "", "pods", "shop")
    assert cluster.allowed_lately(everywhere) is None

    assert await cluster.allowed(everywhere)
    assert await cluster.allowed(everywhere)
    assert await cluster.allowed(Access("list", "", "pods", "shop")), "as in all namespaces"
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(cluster.allowed, here)
    assert cluster.allowed_lately(here)
    assert cluster.allowed_lately(Access("watch", "", "pods")) is False

    asked = [json.loads(seen.body)["spec"]["resourceAttributes"] for seen in script.seen]
    assert asked == [
        {"verb": "list", "group": "", "resource": "pods", "namespace": ""},
        {"verb": "watch", "group": "", "resource": "pods", "namespace": ""},
        {"verb": "watch", "group": "", "resource": "pods", "namespace": "shop"},
    ]


async def test_an_origin_that_may_not_be_read_is_empty(script: Script, cluster: KubernetesCluster) -> None:
    script.then(refuse(403, "Forbidden", "namespaces is forbidden"))

    assert await cluster.origin() == ""
    assert await cluster.origin() == ""


async def test_the_clock_offset_is_the_largest_of_the_answers(
    script: Script, cluster: KubernetesCluster
) -> None:
    now = clock()
    for seconds in (90, 100, 95):
        script.then(answer(OBJECT, Date=format_datetime(now + timedelta(seconds=seconds), usegmt=True)))
    script.then(answer(OBJECT, Date="not a date"))
    assert cluster.clock_offset == timedelta(0)

    for _ in range(4):
        await read(cluster)

    assert timedelta(seconds=90) < cluster.clock_offset <= timedelta(seconds=100)


async def test_a_deletion_names_the_very_object(script: Script, cluster: KubernetesCluster) -> None:
    script.then(answer(OBJECT))

    await delete(cluster)

    options = json.loads(script.seen[0].body)
    assert options["preconditions"] == {"uid": "u"}
    assert options["propagationPolicy"] == "Background"


async def test_a_create_whose_turn_does_not_come_is_never_sent(script: Script, script_config: str) -> None:
    """What its proof has shown may be so no more by then, and nobody would look for it any longer."""
    script.always = answer(OBJECT)
    limits = replace(LIMITS, create_turn_s=0.05)
    manifest = {"kind": "PodChaos", "metadata": {"name": "kill", "namespace": "shop"}}

    async with in_one_task(connect(script_config, clock=clock, limits=limits, rate=2)) as home:
        await home.read_rollout("shop", "web")
        home._session._limiter._tokens = 0.0  # as after a burst
        with pytest.raises(Overdue, match="other requests went first"):
            await home.create_chaos(manifest)
        await home.read_rollout("shop", "web")

    assert {seen.method for seen in script.seen} == {"GET"}


async def test_a_verdict_goes_before_the_marks_of_gates_that_are_yet_to_begin(
    script: Script, script_config: str
) -> None:
    """Hundreds of gates that begin at once must not hold up those whose fault is over."""
    script.always = answer(OBJECT)

    async def patch(name: str, span: str) -> None:
        gate.set(Gate("0123456789", Trace("a" * 32), span, sampled=False, secrets=()))
        await home.patch_analysis_run("shop", name, {"metadata": {"annotations": {"a": "b"}}})

    async def read(name: str, span: str) -> None:
        gate.set(Gate("0123456789", Trace("a" * 32), span, sampled=False, secrets=()))
        await home.read_analysis_run("shop", name)

    async with in_one_task(connect(script_config, clock=clock, limits=LIMITS, rate=10)) as home:
        await read("first", "gate")
        home._session._limiter._tokens = 0.0  # as after a burst
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(patch, f"mark-{number}", "create")
                group.start_soon(read, f"begin-{number}", "gate")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(read, "canary", "observe")
            group.start_soon(patch, "verdict", "cleanup")

    order = [seen.path.rpartition("/")[2].partition("-")[0] for seen in script.seen]
    assert set(order[-5:]) == {"mark"}
    assert max(order.index("canary"), order.index("verdict")) < 4, order
