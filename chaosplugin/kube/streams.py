"""Watch streams that many share."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup

from chaosplugin.core.topics import Applied, Deleted, Lost, Synced, Topic, WatchEvent
from chaosplugin.kube.reflector import Pace, Reflector
from chaosplugin.kube.resources import Collection, belongs
from chaosplugin.kube.session import Session
from chaosplugin.kube.store import Absent, Change, Complete, Failing, Present, Store

_FULL = 1024  # events that wait for a slow subscriber before they are coalesced


class Subscription(AsyncIterator[WatchEvent]):
    """What one subscriber has still to be told of its topic.

    A subscriber that falls behind gets, of each object, only the last event; so what waits for it is
    bounded by the objects that there are.
    """

    def __init__(self, topic: Topic, full: int = _FULL) -> None:
        self._topic = topic
        self._full = full
        self._limit = full
        self._waiting: list[WatchEvent] = []  # newest last
        self._ready: list[WatchEvent] = []  # newest first
        self._news = anyio.Event()

    def put(self, change: Change) -> None:
        """Queue a change, if it is of the topic."""
        match change:
            case Present(found) if belongs(found, self._topic):
                self._add(Applied(self._topic, found))
            case Absent(found) if belongs(found, self._topic):
                self._add(Deleted(self._topic, found))
            case Complete():
                self._add(Synced(self._topic))
            case Failing(reason):
                self._add(Lost(self._topic, reason))
            case _:
                pass

    async def __anext__(self) -> WatchEvent:
        while not self._ready:
            if self._waiting:
                self._ready, self._waiting = self._waiting[::-1], []
                self._limit = self._full
            else:
                self._news = anyio.Event()
                await self._news.wait()
        return self._ready.pop()

    def _add(self, event: WatchEvent) -> None:
        self._waiting.append(event)
        if len(self._waiting) > self._limit:
            self._waiting = coalesce(self._waiting)
            self._limit = max(self._full, 2 * len(self._waiting))
        self._news.set()


def coalesce(events: list[WatchEvent]) -> list[WatchEvent]:
    """Keep the last event of each object and the last word on being in sync, in their order."""
    last: dict[str, WatchEvent] = {}
    for event in events:
        key = event.object.metadata.uid if isinstance(event, Applied | Deleted) else ""
        last.pop(key, None)
        last[key] = event
    return list(last.values())


class _Stream:
    """One reflector and those who listen to it."""

    def __init__(self, session: Session, collection: Collection, pace: Pace) -> None:
        self._store = Store(collection.type)
        self._last_word: Complete | Failing | None = None
        self.subscriptions: set[Subscription] = set()
        self.departures = 0
        self.scope = anyio.CancelScope()
        self._reflector = Reflector(session, collection, self._store, self._emit, pace)

    async def run(self) -> None:
        with self.scope:
            await self._reflector.run()

    def join(self, subscription: Subscription) -> None:
        """Tell a newcomer what the others know, then all that follows."""
        for found in self._store:
            subscription.put(Present(found))
        if self._last_word is not None:
            subscription.put(self._last_word)
        self.subscriptions.add(subscription)

    def _emit(self, change: Change) -> None:
        if isinstance(change, Complete | Failing):
            self._last_word = change
        for subscription in self.subscriptions:
            subscription.put(change)


class Streams:
    """The open streams of one cluster, at most one for each collection."""

    def __init__(self, session: Session, group: TaskGroup, pace: Pace) -> None:
        self._session = session
        self._group = group
        self._pace = pace
        self._streams: dict[Collection, _Stream] = {}

    @contextmanager
    def subscribe(self, collection: Collection, topic: Topic) -> Iterator[Subscription]:
        """Listen to a topic on the stream of a collection that holds it."""
        stream = self._streams.get(collection)
        if stream is None:
            stream = self._streams[collection] = _Stream(self._session, collection, self._pace)
            self._group.start_soon(stream.run)
        subscription = Subscription(topic)
        stream.join(subscription)
        try:
            yield subscription
        finally:
            stream.subscriptions.discard(subscription)
            stream.departures += 1
            if not stream.subscriptions:
                self._group.start_soon(self._close_later, collection, stream)

    async def _close_later(self, collection: Collection, stream: _Stream) -> None:
        departures = stream.departures
        await anyio.sleep(self._pace.linger_s)
        if (
            not stream.subscriptions
            and departures == stream.departures
            and self._streams.get(collection) is stream
        ):
            del self._streams[collection]
            stream.scope.cancel()
