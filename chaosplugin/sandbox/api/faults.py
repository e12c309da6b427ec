"""Faults on command: what the API server, a proxy or the network can do to a client.

A fault holds for the next `times` requests that its predicate accepts. Faults are tried in the order in which
they were set; the first that accepts a request is used up by it.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import anyio
import msgspec

from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import Object, Resource
from chaosplugin.sandbox.api.store import Store
from chaosplugin.sandbox.api.watch import Watch, expire


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it came, before anything was done about it.

    `verb` is the one of RBAC: get, list, watch, create, update, patch, delete, deletecollection; for paths
    that are no resource it is the HTTP method in lower case, and `resource` is empty.
    """

    verb: str
    path: str
    user: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


Where = Callable[[Seen], bool]


def where(verb: str = "", resource: str = "", namespace: str = "", name: str = "", user: str = "") -> Where:
    """Return a predicate; several verbs or resources are separated by blanks, "" accepts all."""
    verbs, resources = verb.split(), resource.split()
    return lambda seen: (
        (not verbs or seen.verb in verbs)
        and (not resources or seen.resource in resources)
        and namespace in {"", seen.namespace}
        and name in {"", seen.name}
        and user in {"", seen.user}
    )


ANY = where()


def _watches(on: Where) -> Where:
    return lambda seen: seen.verb == "watch" and on(seen)


@dataclass(slots=True)
class Fault:
    """What is to be done to a request. `left` counts the requests still to be hit."""

    where: Where
    left: int
    wait: anyio.Event | None = None  # hold the request until this is set
    seconds: float = 0.0  # delay it
    late: float = 0.0  # seconds after which it arrives, be its client gone by then
    status: int = 0  # answer this instead of doing it
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False  # do it, then close the connection without an answer
    breaks_after: int | None = None  # bytes of a watch, after which its connection is reset
    trickles: float = 0.0  # seconds from one byte of a watch to the next

    def cancel(self) -> None:
        self.left = 0


class Faults:
    """The commands. Each returns the Fault, whose `left` tells whether it has happened."""

    def __init__(self, store: Store, watches: set[Watch]) -> None:
        self._store = store
        self._watches = watches
        self._faults: deque[Fault] = deque()

    def take(self, seen: Seen) -> Fault | None:
        """Use up the first fault that accepts this request."""
        for fault in self._faults:
            if fault.left > 0 and fault.where(seen):
                fault.left -= 1
                return fault
        return None

    def clear(self) -> None:
        """Set no faults any more; requests that are held go on."""
        for fault in self._faults:
            fault.cancel()
            if fault.wait is not None:
                fault.wait.set()
        self._faults.clear()

    def refuse(self, error: ApiError, on: Where = ANY, times: int = 1) -> Fault:
        """Answer as the API server would that refuses."""
        fault = Fault(on, times, status=error.code, body=error.body, content_type=error.media)
        fault.headers = error.headers
        return self._set(fault)

    def answer(
        self,
        status: int,
        body: Object | str = "",
        on: Where = ANY,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Answer as given; a text is sent as text/plain, as proxies do."""
        text = isinstance(body, str)
        raw = body.encode() if isinstance(body, str) else msgspec.json.encode(body)
        content = "text/plain" if text else "application/json"
        return self._set(
            Fault(on, times, status=status, body=raw, content_type=content, headers=headers or {})
        )

    def lose_answer(self, on: Where = ANY, times: int = 1) -> Fault:
        """Perform the request, then close the connection without an answer."""
        return self._set(Fault(on, times, drop=True))

    def delay(self, seconds: float, on: Where = ANY, times: int = 1) -> Fault:
        """Begin with the request only after `seconds`."""
        return self._set(Fault(on, times, seconds=seconds))

    def deliver_late(self, seconds: float, on: Where = ANY, times: int = 1) -> Fault:
        """Begin with the request only after `seconds`, even if the client has died meanwhile; not a watch."""
        return self._set(Fault(on, times, late=seconds))

    def hold(self, on: Where = ANY, times: int = 1) -> Fault:
        """Begin with the request only when the fault's `wait` is set."""
        return self._set(Fault(on, times, wait=anyio.Event()))

    def break_stream(self, after: int, on: Where = ANY, times: int = 1) -> Fault:
        """Reset the connection of the next watch after so many bytes, mostly in the middle of a line."""
        return self._set(Fault(_watches(on), times, breaks_after=after))

    def trickle(self, seconds: float, on: Where = ANY, times: int = 1, *, after: int | None = None) -> Fault:
        """Send the next watch byte by byte, with a pause after each; reset its connection `after` so many."""
        return self._set(Fault(_watches(on), times, trickles=seconds, breaks_after=after))

    def cut_watches(self, resource: str = "") -> int:
        """End the running watches (of a resource) without a word; returns how many."""
        hit = self._running(resource)
        for watch in hit:
            watch.cut()
        return len(hit)

    def freeze_watches(self, resource: str = "") -> Callable[[], None]:
        """Deliver nothing to the running watches until the returned function is called."""
        thaw = [watch.freeze() for watch in self._running(resource)]

        def thaw_all() -> None:
            for each in thaw:
                each()

        return thaw_all

    def fail_watches(self, error: ApiError, resource: str = "") -> int:
        """End the running watches with an ERROR event in the stream; returns how many."""
        hit = self._running(resource)
        for watch in hit:
            watch.fail(error)
        return len(hit)

    def expire(self) -> None:
        """Expire every resource version, also under running watches: in-stream 410."""
        expire(self._store, list(self._watches))

    def restore_backup(self) -> None:
        """Go on with the same objects at lower versions, as an API server does over a restored etcd."""
        self._store.renumber()
        self.cut_watches()

    def drop_kind(self, resource: Resource) -> None:
        """End the watches of a kind that is served no more, and forget its past."""
        self._store.expire(resource)
        self.cut_watches(resource.plural)

    def _running(self, resource: str) -> list[Watch]:
        return [watch for watch in self._watches if resource in {"", watch.options.resource.plural}]

    def _set(self, fault: Fault) -> Fault:
        self._faults = deque(each for each in self._faults if each.left > 0)
        self._faults.append(fault)
        return fault
