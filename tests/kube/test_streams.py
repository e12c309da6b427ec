from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.objects import Event as KubernetesEvent
from chaosplugin.core.objects import InvolvedObject, Metadata, Pod
from chaosplugin.core.topics import Applied, Deleted, EventsTopic, Lost, PodsTopic, Synced, WatchEvent
from chaosplugin.kube.client import connect
from chaosplugin.kube.resources import PODS, REPLICA_SETS
from chaosplugin.kube.store import Absent, Complete, Failing, Present, Store
from chaosplugin.kube.streams import Subscription, coalesce
from tests.kube.conftest import Bed, clock, in_one_task

TOPIC = PodsTopic("shop", "hash", "new")


def pod(name: str, version: int, uid: str = "", namespace: str = "shop") -> Pod:
    labels = {"version": str(version)}
    return Pod(
        metadata=Metadata(
            name=name, namespace=namespace, uid=uid or name, resource_version=str(version), labels=labels
        )
    )


def test_a_state_that_is_known_is_no_change() -> None:
    store = Store(Pod)

    assert list(store.apply(pod("a", 1))) == [Present(pod("a", 1))]
    assert list(store.apply(pod("a", 1))) == []
    assert list(store.apply(pod("a", 2))) == [Present(pod("a", 2))]


def test_an_object_that_was_replaced_unseen_is_told_as_gone_first() -> None:
    store = Store(Pod)
    list(store.apply(pod("a", 1, "old")))

    assert list(store.apply(pod("a", 2, "new"))) == [Absent(pod("a", 1, "old")), Present(pod("a", 2, "new"))]
    assert list(store.remove(pod("a", 3, "old"))) == []
    assert len(store) == 1


def test_the_deletion_of_a_successor_leaves_no_ghost_of_its_forerunner() -> None:
    store = Store(Pod)
    list(store.apply(pod("a", 1, "old")))
    store.begin_replace()

    assert list(store.remove(pod("a", 3, "new"))) == []
    assert list(store.end_replace()) == [Absent(pod("a", 1, "old")), Complete()]


states = st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(1, 3), st.sampled_from("xy")))


@given(st.lists(states, max_size=5))
def test_whoever_follows_the_changes_of_full_lists_knows_what_is_there(
    lists: list[dict[str, tuple[int, str]]],
) -> None:
    store = Store(Pod)
    known: dict[str, Pod] = {}
    for state in lists:
        store.begin_replace()
        changes = [
            change
            for name, (version, uid) in state.items()
            for change in store.apply(pod(name, version, uid))
        ]
        for change in (*changes, *store.end_replace()):
            if isinstance(change, Present) and isinstance(change.object, Pod):
                known[change.object.metadata.name] = change.object
            elif isinstance(change, Absent):
                del known[change.object.metadata.name]

        assert {
            name: (int(found.metadata.resource_version), found.metadata.uid) for name, found in known.items()
        } == state


events = st.one_of(
    st.builds(lambda n, v: Applied(TOPIC, pod(n, v)), st.sampled_from("abcd"), st.integers(1, 9)),
    st.builds(lambda n, v: Deleted(TOPIC, pod(n, v)), st.sampled_from("abcd"), st.integers(1, 9)),
    st.just(Synced(TOPIC)),
    st.just(Lost(TOPIC, "away")),
)


@given(st.lists(events))
def test_coalescing_keeps_the_last_of_each_object_in_order(told: list[WatchEvent]) -> None:
    def key(event: WatchEvent) -> str:
        return event.object.metadata.uid if isinstance(event, Applied | Deleted) else ""

    kept = coalesce(told)

    assert {key(event): event for event in kept} == {key(event): event for event in told}
    assert len({key(event) for event in kept}) == len(kept)
    assert kept == [event for n, event in enumerate(told) if key(event) not in map(key, told[n + 1 :])]


async def test_a_slow_subscriber_gets_the_last_states_and_all_deletions() -> None:
    subscription = Subscription(TOPIC, full=10)
    for version in range(1, 10_000):
        subscription.put(Present(pod("busy", version)))
    for n in range(20):
        subscription.put(Absent(pod(f"gone-{n}", 1)))
    subscription.put(Complete())

    told = []
    with anyio.fail_after(5):
        while True:
            told.append(await anext(subscription))
            if isinstance(told[-1], Synced):
                break
    assert len(told) < 50
    assert [event for event in told if isinstance(event, Applied)][-1].object == pod("busy", 9_999)
    assert sum(isinstance(event, Deleted) for event in told) == 20


async def test_a_subscriber_that_keeps_up_is_told_every_change_of_its_topic_only() -> None:
    subscription = Subscription(TOPIC)
    subscription.put(Present(pod("a", 1)))
    subscription.put(Present(pod("b", 2, namespace="bank")))
    subscription.put(Present(pod("a", 3)))
    subscription.put(Failing("away"))

    with anyio.fail_after(5):
        assert [await anext(subscription) for _ in range(3)] == [
            Applied(TOPIC, pod("a", 1)),
            Applied(TOPIC, pod("a", 3)),
            Lost(TOPIC, "away"),
        ]


async def test_events_about_other_objects_than_experiments_are_not_told() -> None:
    topic = EventsTopic("shop")
    subscription = Subscription(topic)
    metadata = Metadata(name="e", namespace="shop", uid="e")
    about_pod = KubernetesEvent(metadata=metadata, involved_object=InvolvedObject(kind="Pod"))
    ours = msgspec.structs.replace(about_pod, involved_object=InvolvedObject(kind="StressChaos"))
    subscription.put(Present(about_pod))
    subscription.put(Present(ours))

    with anyio.fail_after(5):
        assert await anext(subscription) == Applied(topic, ours)


async def test_pods_of_many_canaries_come_from_one_stream_each_to_whom_they_concern(bed: Bed) -> None:
    """A pod that changes its label leaves one canary for another."""
    path = "/api/v1/namespaces/default/pods"

    def body(value: str) -> dict[str, object]:
        containers = [{"name": "web", "image": "web:1"}]
        return {"metadata": {"name": "moves", "labels": {"hash": value}}, "spec": {"containers": containers}}

    topics = [PodsTopic("default", "hash", f"canary-{number}") for number in range(110)]
    async with in_one_task(connect(bed.config, clock=clock)) as cluster, AsyncExitStack() as stack:
        told = [await stack.enter_async_context(cluster.watch(topic)) for topic in topics]
        with anyio.fail_after(30):
            for events in told:
                assert isinstance(await anext(events), Synced)
            await bed.create(path, body("canary-108"))
            assert isinstance(await anext(told[108]), Applied)
            await bed.patch(f"{path}/moves", {"metadata": {"labels": {"hash": "canary-109"}}})
            assert await _until_gone(told[108])
            assert isinstance(await anext(told[109]), Applied)
            await bed.delete(f"{path}/moves")
            assert await _until_gone(told[109])
        assert cluster._streams.count(PODS) == 101


async def _until_gone(events: AsyncIterator[WatchEvent]) -> bool:
    """A kubelet may write meanwhile."""
    async for event in events:
        if isinstance(event, Deleted):
            return True
    return False


async def test_replica_sets_are_listed_from_a_watch_that_is_opened_once(bed: Bed) -> None:
    path = "/apis/apps/v1/namespaces/default/replicasets"

    def body(value: str) -> dict[str, object]:
        labels = {"rollouts-pod-template-hash": value}
        template = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
        return {"metadata": {"name": f"web-{value}", "labels": labels}, "spec": spec}

    await bed.create(path, body("one"))
    await bed.create(path, body("two"))
    async with in_one_task(connect(bed.config, clock=clock)) as cluster:
        for value in ("one", "two", "one"):
            (found,) = await cluster.list_replica_sets("default", f"rollouts-pod-template-hash={value}")
            assert found.metadata.name == f"web-{value}"
        assert await cluster.list_replica_sets("default", "rollouts-pod-template-hash=three") == []
        assert cluster._streams.count(REPLICA_SETS) == 1
        await bed.delete(f"{path}/web-one")
        with anyio.fail_after(10):
            while await cluster.list_replica_sets("default", "rollouts-pod-template-hash=one"):
                await anyio.sleep(0.01)
