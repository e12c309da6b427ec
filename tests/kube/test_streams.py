"""What waits for a subscriber, who may be slow."""

import anyio
import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.objects import Event as KubernetesEvent
from chaosplugin.core.objects import InvolvedObject, Metadata
from chaosplugin.core.topics import Applied, Deleted, EventsTopic, Lost, Synced, WatchEvent
from chaosplugin.kube.store import Absent, Complete, Failing, Present
from chaosplugin.kube.streams import Subscription, coalesce
from tests.kube.watches import TOPIC, known

events = st.one_of(
    st.builds(lambda n, v: Applied(TOPIC, known(n, v)), st.sampled_from("abcd"), st.integers(1, 9)),
    st.builds(lambda n, v: Deleted(TOPIC, known(n, v)), st.sampled_from("abcd"), st.integers(1, 9)),
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
        subscription.put(Present(known("busy", version)))
    for n in range(20):
        subscription.put(Absent(known(f"gone-{n}", 1)))
    subscription.put(Complete())

    told = []
    with anyio.fail_after(60):
        while True:
            told.append(await anext(subscription))
            if isinstance(told[-1], Synced):
                break
    assert len(told) < 50
    assert [event for event in told if isinstance(event, Applied)][-1].object == known("busy", 9_999)
    assert sum(isinstance(event, Deleted) for event in told) == 20


async def test_a_subscriber_that_keeps_up_is_told_every_change_of_its_topic_only() -> None:
    subscription = Subscription(TOPIC)
    subscription.put(Present(known("a", 1)))
    subscription.put(Present(known("b", 2, namespace="bank")))
    subscription.put(Present(known("a", 3)))
    subscription.put(Failing("away"))

    with anyio.fail_after(60):
        assert [await anext(subscription) for _ in range(3)] == [
            Applied(TOPIC, known("a", 1)),
            Applied(TOPIC, known("a", 3)),
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

    with anyio.fail_after(60):
        assert await anext(subscription) == Applied(topic, ours)
