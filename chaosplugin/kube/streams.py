"""Watch streams that many share.

Who follows a topic is called as its events come, within the stream's own task: there may be thousands, and a
task and a queue for each would cost more than all that they are told. Who takes its time subscribes.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from chaosplugin.core.topics import (
    Applied,
    Deleted,
    Lost,
    PodsTopic,
    Synced,
    Topic,
    Watched,
    WatchEvent,
)
from chaosplugin.kube.reflector import Pace, Reflector
from chaosplugin.kube.resources import EVERYTHING, Collection, Part, Resource, belongs, part_of
from chaosplugin.kube.session import Session
from chaosplugin.kube.store import Absent, Change, Complete, Failing, Present, Store
from chaosplugin.provider.facts import Observer, gate
from chaosplugin.provider.ports import Tell

_SYNC_S = 2.0
_SETTLE_S = 5.0
_FULL = 1024  # events that wait for a slow subscriber before they are coalesced
_AT_ONCE = 100  # listeners that are told the same in one go, before others have their turn


class Listener(Protocol):
    """Whom a stream tells its changes; called by the loop, so it must not wait."""

    def put(self, *changes: Change) -> None:
        """Take changes, as far as they are of the topic."""


@dataclass(frozen=True, slots=True, eq=False)
class Follower:
    """A listener that hands on at once what is of its topic."""

    topic: Topic
    tell: Tell

    def put(self, *changes: Change) -> None:
        events = [event for change in changes if (event := event_of(change, self.topic)) is not None]
        if events:
            self.tell(*events)


def event_of(change: Change, topic: Topic) -> WatchEvent | None:
    """Return what a change is to a topic; None: nothing."""
    if type(change) is Present:  # see core/topics.py
        return Applied(topic, change.object) if belongs(change.object, topic) else None
    if type(change) is Absent:
        return Deleted(topic, change.object) if belongs(change.object, topic) else None
    if type(change) is Failing:
        return Lost(topic, change.reason)
    return Synced(topic)


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

    def put(self, *changes: Change) -> None:
        """Queue changes, as far as they are of the topic."""
        for change in changes:
            event = event_of(change, self._topic)
            if event is not None:
                self._add(event)

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
        if not self._waiting:  # else it was told, and has not looked yet
            self._news.set()
        self._waiting.append(event)
        if len(self._waiting) > self._limit:
            self._waiting = coalesce(self._waiting)
            self._limit = max(self._full, 2 * len(self._waiting))


def coalesce(events: list[WatchEvent]) -> list[WatchEvent]:
    """Keep the last event of each object and the last word on being in sync, in their order."""
    last: dict[str, WatchEvent] = {}
    for event in events:
        key = event.object.metadata.uid if isinstance(event, Applied | Deleted) else ""
        last.pop(key, None)
        last[key] = event
    return list(last.values())


class _Stream:
    """One reflector and those who listen to it, each to a part of what it tells."""

    def __init__(
        self,
        session: Session,
        collection: Collection,
        group: TaskGroup,
        pace: Pace,
        observer: Observer | None,
    ) -> None:
        self._group = group
        self.collection = collection
        self.store = Store(collection.type)
        self.scope = anyio.CancelScope()
        self.used_at = time.monotonic()
        self.listed_at = 0.0
        """when all that is there was told anew"""
        self.synced = anyio.Event()
        """set while all that is there has been told"""
        self.settled = anyio.Event()
        """set once that was told, or could not be"""
        self._complete = False
        """what `synced` says, at no cost"""
        self._label = collection.label
        self._parts: dict[Part, dict[str, Watched]] = {}
        """by uid"""
        self._where: dict[str, Part] = {}
        """of each object, by uid, where a change of its label moves it from one part to another"""
        self._listeners: dict[Part, list[Listener]] = {}
        self._last_word: Complete | Failing | None = None
        self._untold: dict[Listener, None] = {}
        """who has not heard the last word"""
        self._reflector = Reflector(session, collection, self.store, self._emit, pace, observer)

    @property
    def idle(self) -> bool:
        return not self._listeners

    @property
    def current(self) -> bool:
        """Whether all that is there has been told, and what changes is told as it does."""
        return self._complete and self._reflector.is_current

    async def run(self) -> None:
        gate.set(None)  # it is shared, whoever was the first to want it
        with self.scope:
            await self._reflector.run()

    def join(self, part: Part, listener: Listener) -> None:
        """Tell a newcomer what the others know, all at once, then what follows."""
        self._listeners.setdefault(part, []).append(listener)
        known: list[Change] = [Present(found) for found in self.part(part)]
        if self._last_word is not None:
            known.append(self._last_word)
        if known:
            listener.put(*known)

    def leave(self, part: Part, listener: Listener) -> None:
        self.used_at = time.monotonic()
        self._untold.pop(listener, None)
        listeners = self._listeners[part]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[part]

    def part(self, part: Part) -> list[Watched]:
        """Return what is there of a part."""
        if part == EVERYTHING:
            return [found for each in self._parts.values() for found in each.values()]
        return list(self._parts.get(part, {}).values())

    def _emit(self, change: Change) -> None:
        if type(change) is Present:
            found = change.object
            part = part_of(found, self._label)
            if self._label:
                self._move(found, part)
            there = self._parts.get(part)
            if there is None:
                there = self._parts[part] = {}
            there[found.metadata.uid] = found
            self._tell(part, change)
        elif type(change) is Absent:
            found = change.object
            part = self._where.pop(found.metadata.uid, part_of(found, self._label))
            self._drop(part, found)
            self._tell(part, change)
        elif type(change) is Complete or type(change) is Failing:
            self._conclude(change)

    def _conclude(self, word: Complete | Failing) -> None:
        self._last_word = word
        self.settled.set()
        self._complete = isinstance(word, Complete)
        if self._complete:
            self.synced.set()
            self.listed_at = time.monotonic()
        elif self.synced.is_set():
            self.synced = anyio.Event()
        under_way = bool(self._untold)
        self._untold = {each: None for listeners in self._listeners.values() for each in listeners}
        if not under_way:
            self._say(word)
            if self._untold:
                self._group.start_soon(self._say_to_all)

    def _say(self, word: Complete | Failing) -> None:
        for listener in list(self._untold)[:_AT_ONCE]:
            if listener in self._untold:  # else another's reaction was that it left
                del self._untold[listener]
                listener.put(word)

    async def _say_to_all(self) -> None:
        """Go on telling the last word; what is new meanwhile is told beside it."""
        while self._untold and self._last_word is not None:
            await anyio.lowlevel.checkpoint()
            self._say(self._last_word)

    def _move(self, found: Watched, part: Part) -> None:
        """Take an object out of the part where it was, if its label has changed."""
        before = self._where.get(found.metadata.uid, part)
        self._where[found.metadata.uid] = part
        if before != part:
            self._drop(before, found)
            self._tell(before, Absent(found))

    def _drop(self, part: Part, found: Watched) -> None:
        there = self._parts.get(part, {})
        there.pop(found.metadata.uid, None)
        if not there:
            self._parts.pop(part, None)

    def _tell(self, part: Part, change: Change) -> None:
        # a copy: what one of them does about it may be to leave
        for listener in (*self._listeners.get(part, ()), *self._listeners.get(EVERYTHING, ())):
            listener.put(change)


class Streams:
    """The open streams of one cluster, at most one for each collection."""

    def __init__(
        self, session: Session, group: TaskGroup, pace: Pace, observer: Observer | None = None
    ) -> None:
        self._session = session
        self._group = group
        self._pace = pace
        self._observer = observer
        self._streams: dict[Collection, _Stream] = {}
        self._counts: Counter[Resource] = Counter()

    @property
    def idle(self) -> bool:
        """No stream is open."""
        return not self._streams

    def count(self, resource: Resource) -> int:
        """Return how many streams of a resource are open."""
        return self._counts[resource]

    @contextmanager
    def subscribe(self, collection: Collection, topic: Topic) -> Iterator[Subscription]:
        """Listen to a topic on the stream of a collection that holds it, at one's own pace."""
        subscription = Subscription(topic)
        leave = self._join(collection, topic, subscription)
        try:
            yield subscription
        finally:
            leave()

    def follow(self, collection: Collection, topic: Topic, tell: Tell) -> Callable[[], None]:
        """Let `tell` be called with each event of a topic; what is returned ends that."""
        return self._join(collection, topic, Follower(topic, tell))

    def _join(self, collection: Collection, topic: Topic, listener: Listener) -> Callable[[], None]:
        stream = self._opened(collection)
        part = topic.namespace, topic.value if isinstance(topic, PodsTopic) and collection.label else ""
        stream.join(part, listener)
        return partial(self._leave, stream, part, listener)

    def _leave(self, stream: _Stream, part: Part, listener: Listener) -> None:
        stream.leave(part, listener)
        if stream.idle:
            self._look_later(stream, self._pace.linger_s)

    def find(
        self, collection: Collection, namespace: str, name: str, *, listed_within_s: float = float("inf")
    ) -> Watched | None:
        """Return an object as an open stream has told it last, if its full list is no older than that."""
        stream = self._streams.get(collection)
        if stream is None or not stream.current:
            return None
        listed_lately = time.monotonic() - stream.listed_at <= listed_within_s
        return stream.store.get(namespace, name) if listed_lately else None

    def in_sync(self, collections: Iterable[Collection]) -> bool:
        """Tell whether one of these is followed, and each that is has told all that is there by now."""
        found = [stream for each in collections if (stream := self._streams.get(each)) is not None]
        return bool(found) and all(stream.current for stream in found)

    async def look(self, collection: Collection, part: Part) -> list[Watched] | None:
        """Return a part as a stream tells it that stays open for a minute after the last look.

        None: it cannot be had in time.
        """
        stream = self._opened(collection)
        stream.used_at = time.monotonic()
        with anyio.move_on_after(_SYNC_S):
            await stream.synced.wait()
        return stream.part(part) if stream.current else None

    async def settle(self, collection: Collection) -> None:
        """Wait, for some seconds, until a stream has told all that is there, or has failed."""
        stream = self._opened(collection)
        stream.used_at = time.monotonic()
        if not stream.settled.is_set():
            with anyio.move_on_after(_SETTLE_S):
                await stream.settled.wait()

    def _opened(self, collection: Collection) -> _Stream:
        stream = self._streams.get(collection)
        if stream is None:
            stream = self._streams[collection] = _Stream(
                self._session, collection, self._group, self._pace, self._observer
            )
            self._counts[collection.resource] += 1
            self._group.start_soon(stream.run)
            self._look_later(stream, self._pace.linger_s)
        return stream

    def _look_later(self, stream: _Stream, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._close_if_idle, stream)

    def _close_if_idle(self, stream: _Stream) -> None:
        """Close a stream that nobody uses for a while; whoever leaves it last begins this anew."""
        if not stream.idle or self._streams.get(stream.collection) is not stream:
            return
        linger = self._pace.linger_s
        if time.monotonic() - stream.used_at >= linger:
            del self._streams[stream.collection]
            self._counts[stream.collection.resource] -= 1
            stream.scope.cancel()
        else:
            self._look_later(stream, linger / 4)
