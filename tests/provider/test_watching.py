"""Watches that are opened as they are wanted, at once where nothing has to be asked for."""

from collections.abc import Callable

import anyio

from chaosplugin.core.interests import Watch
from chaosplugin.core.topics import ChaosTopic, Synced, Topic, WatchEvent
from chaosplugin.provider.ports import Tell
from chaosplugin.provider.watching import Watching

FIRST, SECOND, THIRD = (Watch("", "", "", ChaosTopic("PodChaos", name)) for name in ("1", "2", "3"))


class Told:
    """A cluster that tells at once that there is nothing; `late`: only to whoever waits."""

    def __init__(self, *, late: bool = False) -> None:
        self.late = late
        self.open: list[Topic] = []

    async def follow(self, topic: Topic, tell: Tell) -> Callable[[], None]:
        return self._open(topic, tell)

    def follow_now(self, topic: Topic, tell: Tell) -> Callable[[], None] | None:
        return None if self.late else self._open(topic, tell)

    def _open(self, topic: Topic, tell: Tell) -> Callable[[], None]:
        self.open.append(topic)
        tell(Synced(topic))
        return lambda: self.open.remove(topic)


async def followed(cluster: Told, changes: dict[Watch, bool], told: dict[Watch, dict[Watch, bool]]) -> None:
    """Follow; what a watch tells first changes the wishes again."""

    async def later(_: Watch) -> Told:
        return cluster

    def tell(watch: Watch, *_: WatchEvent) -> None:
        watching.follow(told.pop(watch, {}))

    async with anyio.create_task_group() as tasks:
        watching = Watching(tasks, lambda: cluster, later, tell)  # type: ignore[arg-type, return-value]
        watching.follow(changes)


async def test_what_is_told_at_once_may_end_the_wish_for_another_watch() -> None:
    for late in (False, True):
        cluster = Told(late=late)

        await followed(cluster, {FIRST: True, SECOND: True}, {FIRST: {SECOND: False}})

        assert cluster.open == [FIRST.topic]


async def test_what_is_told_at_once_may_end_the_wish_for_the_watch_itself() -> None:
    for late in (False, True):
        cluster = Told(late=late)

        await followed(cluster, {FIRST: True}, {FIRST: {FIRST: False}})

        assert cluster.open == []


async def test_a_watch_that_is_wanted_again_meanwhile_is_opened_once() -> None:
    for late in (False, True):
        cluster = Told(late=late)
        told = {FIRST: {SECOND: False, THIRD: True}, THIRD: {SECOND: True}}

        await followed(cluster, {FIRST: True, SECOND: True}, told)

        assert sorted(map(str, cluster.open)) == sorted(str(each.topic) for each in (FIRST, SECOND, THIRD))
