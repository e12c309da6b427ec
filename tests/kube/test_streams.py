import anyio
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.objects import Event as KubernetesEvent
from chaosplugin.core.objects import InvolvedObject, Metadata, Pod
from chaosplugin.core.topics import Applied, Deleted, EventsTopic, Lost, PodsTopic, Synced, WatchEvent
from chaosplugin.kube.store import Absent, Complete, Failing, Present, Store
from chaosplugin.kube.streams import Subscription, coalesce

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
