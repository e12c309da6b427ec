"""Which pods an experiment's selectors pick."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from chaosplugin.sandbox.api.resources import PODS, Object
from chaosplugin.sandbox.chaosmesh.selection import SelectionError, targets
from chaosplugin.sandbox.cluster import Cluster

Running = Callable[..., AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def put() -> Callable[..., None]:
    def create(cluster: Cluster, name: str, namespace: str = "default", **labels: str) -> None:
        containers = [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}]
        metadata = {"name": name, "labels": labels, "annotations": {"note": name}}
        cluster.api.create(PODS, {"metadata": metadata, "spec": {"containers": containers}}, namespace)

    return create


def experiment(kind: str = "PodChaos", **spec: Any) -> Object:
    shared = {"action": "pod-failure", "mode": "all", "selector": {"namespaces": ["default"]}}
    return {"kind": kind, "spec": shared | spec}


def picked(cluster: Cluster, **spec: Any) -> list[str]:
    return [identity for _, identity in targets(cluster.api, experiment(**spec))]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ({}, ["a", "b", "c"]),
        ({"labelSelectors": {"app": "web"}}, ["a", "b"]),
        (
            {
                "labelSelectors": {"app": "web"},
                "expressionSelectors": [{"key": "hash", "operator": "In", "values": ["2"]}],
            },
            ["b"],
        ),
        ({"expressionSelectors": [{"key": "hash", "operator": "NotIn", "values": ["2"]}]}, ["a", "c"]),
        ({"expressionSelectors": [{"key": "hash", "operator": "DoesNotExist"}]}, ["c"]),
        ({"annotationSelectors": {"note": "c"}}, ["c"]),
        ({"fieldSelectors": {"metadata.name": "a"}}, ["a"]),
        ({"podPhaseSelectors": ["Pending"]}, ["a", "b", "c"]),
        ({"pods": {"default": ["c", "missing"]}, "labelSelectors": {"app": "web"}}, ["c"]),
    ],
)
async def test_all_criteria_must_hold_but_named_pods_bypass_them(
    running: Running, put: Callable[..., None], selector: Object, names: list[str]
) -> None:
    async with running() as cluster:
        put(cluster, "a", app="web", hash="1")
        put(cluster, "b", app="web", hash="2")
        put(cluster, "c", app="db")
        put(cluster, "d", "kube-system", app="web")

        found = picked(cluster, selector={"namespaces": ["default"]} | selector)

        assert found == [f"default/{name}" for name in names]


@pytest.mark.parametrize("phases", [["Running"], ["!Pending"]])
async def test_phases_select_and_exclude(
    running: Running, put: Callable[..., None], phases: list[str]
) -> None:
    async with running() as cluster:
        put(cluster, "a")
        with pytest.raises(SelectionError, match="no pod is selected"):
            picked(cluster, selector={"podPhaseSelectors": phases})


@pytest.mark.parametrize(
    ("mode", "value", "count"),
    [("one", "", 1), ("all", "", 10), ("fixed", "3", 3), ("fixed", "99", 10), ("fixed-percent", "25", 3)],
)
async def test_modes_count(
    running: Running, put: Callable[..., None], mode: str, value: str, count: int
) -> None:
    async with running() as cluster:
        for number in range(10):
            put(cluster, f"p{number}")

        assert len(set(picked(cluster, mode=mode, value=value))) == count


async def test_a_drawn_percentage_may_select_nothing(running: Running, put: Callable[..., None]) -> None:
    async with running() as cluster:
        put(cluster, "a")
        with pytest.raises(SelectionError, match="no target has been selected"):
            picked(cluster, mode="random-max-percent", value="99")  # of one pod: never a whole one


async def test_containers_are_the_first_or_those_named(running: Running, put: Callable[..., None]) -> None:
    async with running() as cluster:
        put(cluster, "a")
        first = targets(cluster.api, experiment("StressChaos"))
        named = targets(cluster.api, experiment("TimeChaos", containerNames=["side", "other"]))

        assert (first, named) == ([(".", "default/a/web")], [(".", "default/a/side")])
        with pytest.raises(SelectionError, match="no target has been selected"):
            targets(cluster.api, experiment("StressChaos", containerNames=["other"]))


async def test_a_network_target_is_recorded_under_its_own_key(
    running: Running, put: Callable[..., None]
) -> None:
    async with running() as cluster:
        put(cluster, "a", app="web")
        put(cluster, "b", app="db")
        target = {"mode": "all", "selector": {"labelSelectors": {"app": "db"}}}
        obj = experiment("NetworkChaos", selector={"labelSelectors": {"app": "web"}}, target=target)

        assert targets(cluster.api, obj) == [(".", "default/a"), (".Target", "default/b")]

        target["selector"] = {"labelSelectors": {"app": "none"}}
        with pytest.raises(SelectionError, match="no pod is selected"):
            targets(cluster.api, obj)
