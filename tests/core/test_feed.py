"""The feed: every reader gets everything in order, or is told how much it has missed."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core.analysis import Phase
from chaosplugin.core.feed import Feed
from chaosplugin.core.gates import Gate, GateEvent
from chaosplugin.core.run import Stage

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int) -> GateEvent:
    gate = Gate(
        id=str(number),
        namespace="default",
        name="g",
        metric="gate",
        owner="",
        experiment="",
        stage=Stage.PROVING,
        phase=Phase.RUNNING,
        reason="",
        message="",
        value="",
        started_at=NOW,
        finished_at=None,
    )
    return GateEvent(gate, Stage.RESTORING, NOW)


@given(st.integers(1, 8), st.lists(st.integers(0, 12), max_size=12))
def test_what_is_read_and_what_is_missed_is_all_that_was_put(size: int, bursts: list[int]) -> None:
    feed = Feed("x", size)
    place = put = 0
    read: list[int] = []
    missed = 0
    for burst in bursts:
        for _ in range(burst):
            put += 1
            feed.put(event(put))
        batch = feed.read(place)
        place = batch.place
        missed += batch.missed
        read += [int(each.gate.id) for each in batch.events]

    assert len(read) + missed == put
    assert read == sorted(read)
    assert feed.read(place).events == []


def test_a_token_is_a_place_of_its_own_feed_only() -> None:
    feed = Feed("x", 4)
    feed.put(event(1))

    assert feed.place_of(feed.token(0)) == 0
    assert feed.place_of("x.1") == 1
    for token in ("", "x.2", "y.1", "x.", "x.-1", "x.1.1", "x." + "9" * 30, "x.¹"):
        assert feed.place_of(token) is None, token
