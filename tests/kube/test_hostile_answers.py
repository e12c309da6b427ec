"""Answers with absurd values, as a broken server or a hostile endpoint gives them: none ends the plugin."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chaosplugin.kube.client import KubernetesCluster, connect
from chaosplugin.kube.errors import one_line
from chaosplugin.kube.records import RecordCluster
from chaosplugin.kube.session import Limits
from tests.kube.answers import answer
from tests.kube.conftest import Script, clock, in_one_task

OBJECT = {"metadata": {"name": "x", "namespace": "shop", "uid": "u"}}
LONG = "9" * 5000
"""more digits than Python makes a number of"""


@pytest.fixture
async def cluster(script_config: str) -> AsyncIterator[KubernetesCluster]:
    limits = Limits(first_delay_s=0.01)
    async with in_one_task(connect(script_config, clock=clock, limits=limits)) as cluster:
        yield cluster


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:99999999999999999999 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ],
)
async def test_a_date_that_is_of_no_clock_is_passed_over(
    script: Script, cluster: KubernetesCluster, date: str
) -> None:
    script.then(answer(OBJECT, Date=date))

    assert (await cluster.read_rollout("shop", "x")).metadata.uid == "u"
    assert cluster.clock_offset == timedelta()


async def test_a_number_of_seconds_to_wait_that_is_none_is_passed_over(
    script: Script, cluster: KubernetesCluster
) -> None:
    script.then(answer("busy", 503, Retry_After=LONG), answer(OBJECT))

    assert (await cluster.read_rollout("shop", "x")).metadata.uid == "u"


@pytest.mark.parametrize(("there", "marked"), [(LONG, "5"), ("5", LONG)])
async def test_versions_that_are_no_numbers_are_not_compared(
    script: Script, cluster: KubernetesCluster, there: str, marked: str
) -> None:
    script.then(answer({"metadata": {"resourceVersion": there}, "items": []}), answer("gone", 410))

    assert await cluster.created_since("PodChaos", "shop", "x", marked) is None


@pytest.mark.parametrize(
    "spec",
    [
        {"renewTime": "9999-12-31T23:59:59.000000Z", "leaseDurationSeconds": 900},
        {"renewTime": "2026-01-01T00:00:00", "leaseDurationSeconds": 900},
        {"leaseDurationSeconds": 900},
    ],
)
async def test_a_lease_that_nobody_can_have_renewed_is_taken(
    script: Script, cluster: KubernetesCluster, spec: dict[str, object]
) -> None:
    metadata = {"name": "x", "namespace": "shop", "resourceVersion": "5"}
    found = {"metadata": metadata, "spec": {"holderIdentity": "other", **spec}}
    script.then(answer(found), answer(found))
    lease = RecordCluster.beside(cluster).lease("shop", "x", "me")

    assert await lease.take(clock(), timedelta(minutes=15))
    assert [seen.method for seen in script.seen] == ["GET", "PUT"]


def test_no_message_moves_a_terminals_cursor() -> None:
    assert one_line("a\x1b[2Jb\x9b2Jc\x85\r\nd") == "a [2Jb 2Jc d"


def test_credentials_are_looked_for_in_a_time_that_grows_with_the_text() -> None:
    text = "-eyJ" * (1 << 20)

    assert one_line(text).startswith("-eyJ-eyJ")
    assert one_line(f"{text[:8]} eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl") == "-eyJ-eyJ (credential)"
    assert "eyJpc" not in one_line("token=eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl-eyJhbGciOi")
