"""Keeps a store equal to a collection in the cluster, whatever happens to the connection.

First all that is there, by a streaming list (WatchList) or, where the server has none, by pages; then
changes. A stream that is cut or ends is taken up again at the last resourceVersion. If it cannot be taken
up at once, or the server no longer keeps that version, all is told anew and the store works out what was
missed, deletions too. Source: client-go tools/cache/reflector.go, KEP-3157 (WatchList).
"""

import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import msgspec

from chaosplugin.kube.backoff import Backoff
from chaosplugin.kube.errors import TryLater, one_line, parse_status, refusal
from chaosplugin.kube.lines import Bookmark, Garbled, Line, split_lines
from chaosplugin.kube.pages import read_pages
from chaosplugin.kube.resources import Collection
from chaosplugin.kube.session import Request, Session
from chaosplugin.kube.store import Change, Failing, Store
from chaosplugin.provider.ports import ClusterError, Invalid, Unavailable

if TYPE_CHECKING:
    from chaosplugin.core.topics import Watched

_log = logging.getLogger(__name__)
_random = random.SystemRandom()
_line = msgspec.json.Decoder(Line)
_bookmark = msgspec.json.Decoder(Bookmark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of the watches, in seconds."""

    idle_s: float = 150.0  # bookmarks come about once a minute, without promise
    lasts_s: tuple[float, float] = (300.0, 600.0)  # the server ends a watch itself; as client-go asks
    initial_s: float = 60.0  # a server that streams lists has done so by then
    first_delay_s: float = 0.8
    last_delay_s: float = 30.0
    calm_s: float = 120.0
    linger_s: float = 60.0  # a stream without subscribers stays open


class Reflector:
    """One collection. `emit` is told every change, in the order of the server."""

    def __init__(
        self,
        session: Session,
        collection: Collection,
        store: Store,
        emit: Callable[[Change], None],
        pace: Pace,
    ) -> None:
        self._session = session
        self._collection = collection
        self._store = store
        self._emit = emit
        self._pace = pace
        self._decoder: msgspec.json.Decoder[Watched] = msgspec.json.Decoder(collection.type)
        self._version: str | None = None  # from which to go on; None: from a full list
        self._streams_lists = True
        self._open = False

    async def run(self) -> None:
        """Watch until cancelled."""
        pace = self._pace
        backoff = Backoff(first=pace.first_delay_s, last=pace.last_delay_s, calm=pace.calm_s)
        while True:
            began = time.monotonic()
            self._open = False
            at_least = 0.0
            try:
                await self._once()
            except _NoInitialEvents:
                self._streams_lists = False
            except Garbled as error:
                self._fail(f"{self._collection.what}: {error}")
            except ClusterError as error:
                at_least = error.retry_after if isinstance(error, TryLater) else 0.0
                # a stream that was open, and broke, has lost nothing yet: it is taken up where it was
                if not (self._open and isinstance(error, Unavailable) and self._version is not None):
                    self._fail(str(error))
            if time.monotonic() - began < pace.calm_s or at_least:
                await anyio.sleep(backoff.delay(at_least))

    def _fail(self, reason: str) -> None:
        _log.info("a watch has failed, and is tried again: %s", reason)
        self._version = None
        self._emit(Failing(one_line(reason, 500)))

    async def _once(self) -> None:
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
        pages = read_pages(
            self._session, collection.path, dict(collection.selectors), collection.type, collection.what
        )
        version = ""
        async for page in pages:
            for found in page.items or ():
                self._tell(self._store.apply(found))
            version = page.metadata.resource_version
        self._version = version
        self._tell(self._store.end_replace())

    async def _watch(self) -> None:
        lasts = _random.uniform(*self._pace.lasts_s)
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
        stream = self._session.stream(request, idle_s=self._pace.idle_s, total_s=lasts + 30)
        async with stream as pieces:
            self._open = True
            lines = split_lines(pieces)
            if self._version is None:
                await self._initial(lines)
            async for line in lines:
                self._take(line)

    async def _initial(self, lines: AsyncIterator[bytes]) -> None:
        """Take initial events up to their end; their resourceVersions are in no order."""
        with anyio.move_on_after(self._pace.initial_s) as scope:
            async for line in lines:
                version = self._take(line)
                if version is not None:
                    self._version = version
                    self._tell(self._store.end_replace())
                    return
        if scope.cancelled_caught:
            raise _NoInitialEvents
        raise Garbled("the stream ended before all initial events had come")

    def _take(self, line: bytes) -> str | None:
        """Take an event; return the resourceVersion of the bookmark that ends the initial ones."""
        try:
            event = _line.decode(line)
        except msgspec.DecodeError:
            words = one_line(line[:400].decode(errors="replace"), 120)
            raise Garbled(f"a line that is no event: {words}") from None
        match event.type:
            case "ADDED" | "MODIFIED" | "DELETED":
                self._take_object(event)
            case "BOOKMARK":
                bookmark = _bookmark.decode(event.object)
                if self._version is not None:
                    self._version = bookmark.metadata.resource_version
                elif bookmark.ends_initial_events:
                    return bookmark.metadata.resource_version
            case "ERROR":
                body = bytes(event.object)
                status = parse_status(body)
                raise refusal(status.code if status and status.code else 500, body, self._collection.what)
            case other:
                raise Garbled(f"an event of type {one_line(other, 40)!r}")
        return None

    def _take_object(self, event: Line) -> None:
        try:
            found = self._decoder.decode(event.object)
        except msgspec.ValidationError as error:
            _log.warning("%s: an object that cannot be read is passed over: %s", self._collection.what, error)
            return
        store = self._store
        self._tell(store.remove(found) if event.type == "DELETED" else store.apply(found))
        if self._version is not None:
            self._version = found.metadata.resource_version

    def _tell(self, changes: Iterator[Change]) -> None:
        for change in changes:
            self._emit(change)


class _NoInitialEvents(Exception):
    """The server watches, but has never heard of initial events."""
