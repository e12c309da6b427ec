"""Keeps a store equal to a collection in the cluster, whatever happens to the connection.

First all that is there, by a streaming list (WatchList) or, where the server has none, by pages; then
changes. A stream that has told something and breaks is taken up again at the last resourceVersion. One
that told nothing proves nothing: a server that was restored from a backup takes a version from its future
and is silent. Then, and where the stream cannot be taken up or the server no longer keeps that version,
all is told anew, and the store works out what was missed, deletions too.
Source: client-go tools/cache/reflector.go, KEP-3157 (WatchList), apiserver storage/cacher.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import msgspec

from chaosplugin.kube.backoff import Backoff
from chaosplugin.kube.errors import UNREADABLE, TryLater, one_line, parse_status, refusal
from chaosplugin.kube.lines import Bookmark, Event, Garbled, Lines
from chaosplugin.kube.pages import read_pages
from chaosplugin.kube.resources import Collection
from chaosplugin.kube.session import Request, Session
from chaosplugin.kube.store import Change, Failing, Store
from chaosplugin.provider.facts import Observer, Pulse, WatchBegan, WatchCut, WatchEnded
from chaosplugin.provider.ports import ClusterError, Invalid, Unavailable

if TYPE_CHECKING:
    from chaosplugin.core.objects import Metadata
    from chaosplugin.core.topics import Watched

_log = logging.getLogger(__name__)
_random = random.SystemRandom()
_any_event = msgspec.json.Decoder(Event[msgspec.Raw])
_bookmark = msgspec.json.Decoder(Bookmark)

_TYPES = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})
_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of the watches, in seconds."""

    idle_s: float = 150.0  # bookmarks come about once a minute, without promise
    lasts_s: tuple[float, float] = (300.0, 600.0)  # the server ends a watch itself; as client-go asks
    grace_s: float = 30.0  # for that end to come
    initial_s: float = 60.0  # a server that streams lists has done so by then
    first_delay_s: float = 0.8
    last_delay_s: float = 10.0  # client-go's is 30: here a gate's verdict waits for it
    calm_s: float = 120.0
    linger_s: float = 60.0  # a stream without subscribers stays open
    catch_up_s: float = 5.0  # what a stream has missed that is taken up again is told by then


class Reflector:
    """One collection. `emit` is told every change, in the order of the server."""

    def __init__(
        self,
        session: Session,
        collection: Collection,
        store: Store,
        emit: Callable[[Change], None],
        pace: Pace,
        observer: Observer | None = None,
    ) -> None:
        self._tell_observer = observer or (lambda _: None)
        self._pulse = Pulse(collection.resource.plural, time.monotonic())
        self._session = session
        self._collection = collection
        self._store = store
        self._emit = emit
        self._pace = pace
        self._object: msgspec.json.Decoder[Watched] = msgspec.json.Decoder(collection.type)
        self._event: msgspec.json.Decoder[Event[Watched]] = msgspec.json.Decoder(Event[collection.type])  # type: ignore[name-defined]  # a type that is known at run time
        self._version: str | None = None  # from which to go on; None: from a full list
        self._streams_lists = True
        self._open = False
        self._resumes = False
        self._current_from = 0.0
        self._told = False  # whether the stream has brought anything

    @property
    def is_current(self) -> bool:
        """Whether a stream is there, so that what changes is told at once, and what was missed has been.

        Only after a full list is the end of that told: a stream that was taken up again gets its time.
        """
        return self._open and self._version is not None and time.monotonic() >= self._current_from

    async def run(self) -> None:
        """Watch until cancelled."""
        self._tell_observer(WatchBegan(self._pulse))
        try:
            await self._for_ever()
        finally:
            self._tell_observer(WatchEnded(self._pulse))

    async def _for_ever(self) -> None:
        pace = self._pace
        backoff = Backoff(first=pace.first_delay_s, last=pace.last_delay_s, calm=pace.calm_s)
        while True:
            began = time.monotonic()
            self._open = self._told = False
            at_least, at_once = 0.0, False
            why = "end"
            try:
                await self._once()
                at_once = time.monotonic() - began > pace.calm_s
            except _NoInitialEvents:
                self._streams_lists = False
            except Garbled as error:
                why = "garbled"
                self._fail(f"{self._collection.what}: {error}")
            except ClusterError as error:
                why = _why(error)
                at_least = error.retry_after if isinstance(error, TryLater) else 0.0
                # a stream that was open, and broke, has lost nothing yet
                broke = self._open and isinstance(error, Unavailable) and not error.status
                if not broke or self._version is None:
                    self._fail(str(error))
            except Exception as error:  # noqa: BLE001  the boundary: a defect in one watch must not end all
                why = "defect"
                _log.exception("an error of chaosplugin itself in a watch; please report it")
                self._fail(f"an error of chaosplugin itself: {error}")
            self._open = False
            self._tell_observer(WatchCut(self._pulse, why))
            if self._told:
                backoff.reset()
            else:
                self._version = None
            if not at_once:
                await anyio.sleep(backoff.delay(at_least))

    def _fail(self, reason: str) -> None:
        _log.info("a watch has failed, and is tried again: %s", reason)
        self._version = None
        self._emit(Failing(one_line(reason, 500)))

    async def _once(self) -> None:
        self._resumes = self._version is not None
        if self._version is None and not self._streams_lists:
            await self._list()
        try:
            await self._watch()
        except Invalid as error:
            if self._version is not None:
                raise
            _log.debug("no streaming lists here, lists are read by pages: %s", error)
            self._streams_lists = False
            await self._list()
            await self._watch()

    async def _list(self) -> None:
        self._store.begin_replace()
        collection = self._collection
        version = ""
        async for page in read_pages(
            self._session, collection.path, dict(collection.selectors), collection.what
        ):
            for item in page.items or ():
                self._apply(item)
            version = page.metadata.resource_version
        if not version:
            raise Garbled("a list without a resourceVersion")
        self._version = version
        self._tell(self._store.end_replace())

    async def _watch(self) -> None:
        pace = self._pace
        lasts = _random.uniform(*pace.lasts_s)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(lasts))),
            **dict(self._collection.selectors),
        }
        if self._version is None:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
            self._store.begin_replace()
        else:
            query["resourceVersion"] = self._version
        request = Request(method="GET", path=self._collection.path, what=self._collection.what, query=query)
        silence = _Silence(pace.idle_s, pace.initial_s if self._version is None else None)
        with silence:
            async with self._session.stream(request, total_s=lasts + pace.grace_s) as pieces:
                self._open = True
                self._current_from = time.monotonic() + pace.catch_up_s if self._resumes else 0.0
                lines = Lines()
                async for piece in pieces:
                    if whole := lines.feed(piece):
                        self._take(whole)
                        silence.heard(initial=self._version is None)
                        await anyio.lowlevel.checkpoint()  # what has come may be megabytes
        if silence.found and self._open and self._version is None:
            raise _NoInitialEvents
        if silence.found:
            message = f"{self._collection.what}: no event for {pace.idle_s:g} s"
            raise Unavailable(message, sent=True)
        if self._version is None:
            raise Garbled("the stream ended before all initial events had come")

    def _take(self, lines: bytes) -> None:
        """Take events; decoded all at once, which is cheap, unless there is something strange among them."""
        self._pulse.heard_at = time.monotonic()
        try:
            events = self._event.decode_lines(lines)
        except UNREADABLE:
            events = []
        if events and {event.type for event in events} <= _TYPES:
            for event in events:
                self._take_event(event)
        else:
            for line in lines.split(b"\n"):
                if line.strip():
                    self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        try:
            event = self._event.decode(line)
        except UNREADABLE as error:
            self._take_other(line, error)
        else:
            if event.type in _TYPES:
                self._take_event(event)
            else:
                self._take_other(line)

    def _take_event(self, event: "Event[Watched]") -> None:
        """Take an object or a bookmark. Of the initial events the resourceVersions are in no order."""
        found = event.object
        if event.type == "BOOKMARK":
            self._take_bookmark(found.metadata)
            return
        self._tell(self._store.remove(found) if event.type == "DELETED" else self._store.apply(found))
        self._told = True
        if self._version is not None and found.metadata.resource_version:
            self._version = found.metadata.resource_version

    def _take_other(self, line: bytes, unreadable: Exception | None = None) -> None:
        """Take what is no object of the collection, or cannot be read as one."""
        what = self._collection.what
        try:
            event = _any_event.decode(line)
            if event.type == "BOOKMARK":
                self._take_bookmark(_bookmark.decode(event.object).metadata)
                return
        except RecursionError:
            _log.warning("%s: an object that is nested without end is passed over", what)
            return
        except UNREADABLE:
            words = one_line(line[:400].decode(errors="replace"), 120)
            raise Garbled(f"a line that is no event: {words}") from None
        if event.type == "ERROR":
            body = bytes(event.object)
            status = parse_status(body)
            raise refusal(status.code if status and status.code else 500, body, what)
        if event.type not in _TYPES:
            raise Garbled(f"an event of type {one_line(event.type, 40)!r}")
        _log.warning("%s: an object that cannot be read is passed over: %s", what, unreadable)

    def _take_bookmark(self, metadata: "Metadata") -> None:
        version = metadata.resource_version
        if not version:
            raise Garbled("a bookmark without a resourceVersion")
        if self._version is None and metadata.annotation(_INITIAL_EVENTS_END) != "true":
            return
        initial = self._version is None
        self._version, self._told = version, True
        if initial:
            self._tell(self._store.end_replace())

    def _apply(self, item: msgspec.Raw) -> None:
        try:
            found = self._object.decode(item)
        except UNREADABLE as error:
            _log.warning("%s: an object that cannot be read is passed over: %s", self._collection.what, error)
        else:
            self._tell(self._store.apply(found))

    def _tell(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._emit(change)


def _why(error: ClusterError) -> str:
    """Sort the ends of a stream into few words, for figures."""
    if error.status == 410:
        return "expired"
    return "broken" if isinstance(error, Unavailable) else "refused"


class _NoInitialEvents(Exception):
    """The server watches, but has never heard of initial events."""


class _Silence:
    """Ends a block in which no whole line has come for `idle_s`, or the initial ones not in `initial_s`.

    Looked at by a timer of its own, so that an event costs no more than a look at the clock.
    """

    def __init__(self, idle_s: float, initial_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._idle_s = idle_s
        self._heard_at = self._loop.time()
        self._initial_by = None if initial_s is None else self._heard_at + initial_s
        self._scope = anyio.CancelScope()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def found(self) -> bool:
        """Whether the block was ended for it."""
        return self._scope.cancelled_caught

    def heard(self, *, initial: bool) -> None:
        """Say that a line has come, and whether more of the initial ones are to come."""
        self._heard_at = self._loop.time()
        if not initial:
            self._initial_by = None

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._look()

    def __exit__(self, *error: object) -> bool:
        if self._timer is not None:
            self._timer.cancel()
        return bool(self._scope.__exit__(*error))  # type: ignore[arg-type]  # handed on as it came

    def _look(self) -> None:
        due = self._heard_at + self._idle_s
        if self._initial_by is not None:
            due = min(due, self._initial_by)
        if due <= self._loop.time():
            self._scope.cancel()
        else:
            self._timer = self._loop.call_at(due, self._look)
