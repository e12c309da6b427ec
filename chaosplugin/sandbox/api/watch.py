"""One watch: initial state, replay, live changes and bookmarks, as lines of JSON."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import anyio
import msgspec

from chaosplugin.sandbox.api.errors import ApiError, Cause, invalid, too_large, too_old
from chaosplugin.sandbox.api.resources import Object, Resource
from chaosplugin.sandbox.api.selectors import EVERYTHING, Selector
from chaosplugin.sandbox.api.store import Change, Store, Stored

BACKLOG = 10_000  # lines that a client may be behind before it is cut off
WATCH_SECONDS = 1800.0  # of a watch that names no timeoutSeconds; the real one draws 30 to 60 min
INITIAL_EVENTS_END = "k8s.io/initial-events-end"

_LIST_OPTIONS = Resource("meta.k8s.io", "v1", "listoptions", "ListOptions", custom=False)


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """The query of a watch; `timeout` in seconds."""

    resource: Resource
    namespace: str = ""
    selector: Selector = EVERYTHING
    revision: int | None = None  # None or 0: begin with what there is
    bookmarks: bool = False
    initial_events: bool = False
    match: str = ""
    timeout: float = WATCH_SECONDS

    def check(self, *, watch_list: bool) -> None:
        """Refuse combinations that the real server refuses (apimachinery's ValidateListOptions).

        Raises:
            ApiError: 422; also for every sendInitialEvents, when the server knows no WatchList.
        """
        why = ""
        if self.initial_events and not watch_list:
            why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
        elif self.initial_events and self.match != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        elif self.match and not self.initial_events:
            why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        if why:
            field = "sendInitialEvents" if self.initial_events and not watch_list else "resourceVersionMatch"
            raise invalid(_LIST_OPTIONS, "", [Cause(field, "FieldValueForbidden", f"Forbidden: {why}")])


def line(kind: str, raw: bytes) -> bytes:
    """Return one line of a watch stream."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), raw)


def error_line(error: ApiError) -> bytes:
    """Return the line that ends a watch with an error."""
    return line("ERROR", msgspec.json.encode(error.status))


class Watch:
    """A running watch. Changes are queued as they happen; `lines` yields them until the end.

    `freeze` stops the delivery as a half-open connection would; `fail` ends the watch with an ERROR line,
    `cut` without one.
    """

    def __init__(self, store: Store, options: WatchOptions, bookmark_every: float) -> None:
        self.options = options
        self._store = store
        self._bookmark_every = bookmark_every
        self._first, ended = self._initial()
        self._send, self._receive = anyio.create_memory_object_stream[bytes](BACKLOG)
        self._thawed: anyio.Event | None = None
        self._unlisten = store.listen(self._hear, options.resource)
        if ended:
            self.cut()

    def close(self) -> None:
        self._unlisten()
        self._send.close()
        self._receive.close()

    def freeze(self) -> Callable[[], None]:
        """Deliver nothing until the returned function is called."""
        thawed = self._thawed = anyio.Event()
        return thawed.set

    def fail(self, error: ApiError) -> None:
        self._push(error_line(error))
        self.cut()

    def cut(self) -> None:
        self._unlisten()
        self._send.close()

    async def lines(self) -> AsyncIterator[bytes]:
        """Yield lines; several at once where several are ready."""
        if self._first:
            yield b"".join(self._first)
            self._first.clear()
        ends = anyio.current_time() + self.options.timeout
        while (left := ends - anyio.current_time()) > 0:
            chunk = b""
            with anyio.move_on_after(min(left, self._bookmark_every)):
                try:
                    chunk = await self._receive.receive()
                except (anyio.EndOfStream, anyio.ClosedResourceError):
                    return
            if self._thawed is not None:
                await self._thawed.wait()
                self._thawed = None
            if chunk:
                yield chunk + self._ready()
            elif self.options.bookmarks and self._store.revision >= (self.options.revision or 0):
                yield self._bookmark()

    def _ready(self) -> bytes:
        waiting = self._receive.statistics().current_buffer_used
        return b"".join([self._receive.receive_nowait() for _ in range(waiting)])

    def _initial(self) -> tuple[list[bytes], bool]:
        """Return the lines to begin with, and whether they are all."""
        options, store = self.options, self._store
        if options.revision and not options.initial_events:
            try:
                changes = list(store.changes_after(options.resource, options.revision))
            except ApiError as error:
                return [error_line(error)], True
            return [found for change in changes if (found := self._line(change))], False
        if options.revision and options.revision > store.revision:
            return [error_line(too_large(options.revision, store.revision))], True
        present = [each for each in store.list(options.resource, options.namespace) if self._selects(each)]
        first = [line("ADDED", each.raw) for each in present]
        if options.initial_events and options.bookmarks:
            first.append(self._bookmark(end=True))
        return first, False

    def _hear(self, change: Change) -> None:
        """Tell a change; one who asked from a version of the future is told nothing until then."""
        found = self._line(change)
        if found and change.stored.revision > (self.options.revision or 0):
            self._push(found)

    def _push(self, found: bytes) -> None:
        try:
            self._send.send_nowait(found)
        except anyio.WouldBlock:
            self.cut()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._unlisten()

    def _selects(self, stored: Stored) -> bool:
        return self.options.selector.matches(stored.object)

    def _line(self, change: Change) -> bytes:
        """Return the line for a change, b"" where it is none of this watch.

        An object that begins to match is ADDED, one that ceases to match is DELETED.
        """
        stored = change.stored
        if self.options.namespace and stored.namespace != self.options.namespace:
            return b""
        now = change.type != "DELETED" and self._selects(stored)
        before = change.previous is not None and self._selects(change.previous)
        if now:
            return line("MODIFIED" if before else "ADDED", stored.raw)
        if not before:
            return b""
        if change.type == "DELETED" or change.previous is None:
            return line("DELETED", stored.raw)
        last = change.previous.copy()
        last["metadata"]["resourceVersion"] = str(stored.revision)
        return line("DELETED", msgspec.json.encode(last))

    def _bookmark(self, *, end: bool = False) -> bytes:
        resource = self.options.resource
        meta: Object = {"resourceVersion": str(self._store.revision), "creationTimestamp": None}
        if end:
            meta["annotations"] = {INITIAL_EVENTS_END: "true"}
        bookmark = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
        return line("BOOKMARK", msgspec.json.encode(bookmark))


def expire(store: Store, watches: list[Watch]) -> None:
    """Expire all versions, and tell every running watch so, in its stream."""
    store.expire()
    for watch in watches:
        watch.fail(too_old(0, store.revision))
