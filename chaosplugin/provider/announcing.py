"""Posts Events, one after another in the background: no gate ever waits for one.

As client-go's recorder does (tools/record/events_cache.go): an Event that is the same as an earlier one
raises that one's count; one object gets 25 at once, then one in five minutes. What cannot be sent now is
dropped: Events are for people, and the verdict stands on the AnalysisRun.
"""

import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import anyio

from chaosplugin.core.announcements import Announcement, Subject
from chaosplugin.core.redaction import cut
from chaosplugin.provider.ports import Cluster, ClusterError, Denied, NotFound

_log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

COMPONENT = "chaosplugin"
BURST = 25
REFILL_S = 300.0
_WAITING = 256
_KEPT = 1024  # objects, and Events, that are remembered
_NAME = 230  # characters of an object's name within an Event's


@dataclass(slots=True)
class _Posted:
    name: str
    count: int = 1


@dataclass(slots=True)
class _Bucket:
    """How many Events an object may still get."""

    tokens: float
    filled_at: datetime

    def take(self, now: datetime) -> bool:
        passed = (now - self.filled_at).total_seconds()
        self.tokens, self.filled_at = min(BURST, self.tokens + passed / REFILL_S), now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Announcer:
    """Remembers what it has posted, and to whom."""

    def __init__(self, home: Callable[[], Awaitable[Cluster]], clock: Callable[[], datetime]) -> None:
        self._home = home
        self._clock = clock
        self._waiting: deque[tuple[Subject, Announcement]] = deque(maxlen=_WAITING)
        self._news = anyio.Event()
        self._posted: OrderedDict[tuple[str, str, str], _Posted] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._numbers = itertools.count()
        self._denied = False

    def tell(self, announcements: Iterable[Announcement]) -> None:
        """Take announcements; the oldest that wait are dropped for the newest."""
        for announcement in announcements:
            self._waiting.extend((subject, announcement) for subject in announcement.subjects)
            self._news.set()

    async def serve(self) -> None:
        """Post until cancelled."""
        while True:
            while self._waiting:
                await self._post(*self._waiting.popleft())
            self._news = anyio.Event()
            await self._news.wait()

    async def _post(self, subject: Subject, announcement: Announcement) -> None:
        now = self._clock()
        bucket = _remembered(self._buckets, subject.uid, lambda: _Bucket(BURST, now))
        if not bucket.take(now):
            return
        try:
            await self._send(subject, announcement, now)
        except Denied as error:
            if not self._denied:
                _log.info("no Events: %s", error)
            self._denied = True
        except ClusterError as error:
            _log.debug("an Event was not posted: %s", error)

    async def _send(self, subject: Subject, announcement: Announcement, now: datetime) -> None:
        home = await self._home()
        key = (subject.uid, announcement.notice.value, announcement.message)
        posted = self._posted.get(key)
        if posted is not None:
            again = {"count": posted.count + 1, "lastTimestamp": _stamp(now)}
            try:
                if await home.patch_event(subject.namespace, posted.name, again):
                    posted.count += 1
            except NotFound:  # Events live for an hour
                del self._posted[key]
            else:
                return
        name = f"{subject.name[:_NAME]}.{int(now.timestamp() * 1e6):x}{next(self._numbers) & 0xFFF:03x}"
        if await home.create_event(_manifest(name, subject, announcement, now)):
            _remembered(self._posted, key, lambda: _Posted(name))


def _remembered(known: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """Return what is known of a key, and forget what was not asked for longest."""
    if key not in known:
        known[key] = make()
        if len(known) > _KEPT:
            known.popitem(last=False)
    known.move_to_end(key)
    return known[key]


def _manifest(name: str, subject: Subject, announcement: Announcement, now: datetime) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": subject.namespace},
        "involvedObject": {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "namespace": subject.namespace,
            "name": subject.name,
            "uid": subject.uid,
        },
        "reason": announcement.notice.value,
        "message": cut(announcement.message),
        "type": "Warning" if announcement.warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": _stamp(now),
        "lastTimestamp": _stamp(now),
        "count": 1,
    }


def _stamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
