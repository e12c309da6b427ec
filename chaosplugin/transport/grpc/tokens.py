"""Callers by their Kubernetes tokens, which the API server reviews.

Anybody may show tokens that are none, each time another one. So what a token is worth is remembered, the good
ones apart from the others, which cannot push them out; and each peer may cost the API server only so many
reviews that come to nothing. Whose token was good lately does not pay for strangers, wherever they call from.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio
import grpc

from chaosplugin.transport.grpc.callers import Caller, Context, not_listed
from chaosplugin.transport.grpc.status import Rejected, later

_REMEMBER_S = 60.0  # a token that was taken back is noticed after that
_MAX_REMEMBERED = 1024
_MAX_TOKEN = 16 << 10
_RETRY_S = 2.0
_FREE = 20  # reviews that come to nothing, for each peer
_EACH_S = 1.0  # after which it has one more of them
_MAX_PEERS = 1024
_MAX_WAITING = 256  # calls that wait for reviews of strangers, so that they crowd out nobody

Review = Callable[[str], Awaitable[str]]
"""Returns the user's name, "" for a token that is none. Raises: Rejected."""


@dataclass(slots=True)
class _Asking:
    """A review that is under way, for those who wait for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    failure: Rejected | None = None


class _Remembered:
    """What tokens were worth, by their digests, until when; the latest ones."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._names

    def get(self, digest: bytes, now: float) -> str | None:
        """Return the name, as long as it may be believed."""
        until, name = self._names.get(digest, (0.0, ""))
        return name if now < until else None

    def put(self, digest: bytes, name: str, now: float) -> None:
        self._names[digest] = now + _REMEMBER_S, name
        self._names.move_to_end(digest)
        if len(self._names) > _MAX_REMEMBERED:
            self._names.popitem(last=False)

    def drop(self, digest: bytes) -> None:
        self._names.pop(digest, None)


class _Deposits:
    """What is left to each peer, which pays for a review in advance and is paid back if it was worth it."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str, now: float) -> None:
        """Raises: Rejected, if nothing is left."""
        left = self._at(peer, now)
        if left < 1:
            raise later("too many tokens from this address were not valid here", _EACH_S)
        self._put(peer, left - 1, now)

    def give_back(self, peer: str, now: float) -> None:
        self._put(peer, self._at(peer, now) + 1, now)

    def _at(self, peer: str, now: float) -> float:
        left, at = self._left.get(peer, (_FREE, now))
        return min(_FREE, left + (now - at) / _EACH_S)

    def _put(self, peer: str, left: float, now: float) -> None:
        self._left[peer] = left, now
        self._left.move_to_end(peer)
        if len(self._left) > _MAX_PEERS:
            self._left.popitem(last=False)


class Tokens:
    """Kubernetes tokens, reviewed by the API server, and remembered for a minute."""

    def __init__(
        self,
        allowed: Mapping[str, frozenset[str] | None],
        review: Review,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._review = review
        self._clock = clock
        self._good = _Remembered()
        """of those who are let in; one that has to be reviewed again is no stranger's"""
        self._others = _Remembered()
        self._asking: dict[bytes, _Asking] = {}
        self._deposits = _Deposits()
        self._waiting = 0

    async def identify(self, context: Context) -> Caller:
        name = await self._name(_bearer(context), _host(context.peer()))
        if not name:
            raise Rejected(grpc.StatusCode.UNAUTHENTICATED, "the token is not valid here")
        if name not in self._allowed:
            raise not_listed(name)
        return Caller(name, self._allowed[name])

    async def _name(self, token: str, peer: str) -> str:
        digest = hashlib.sha256(token.encode()).digest()
        while True:
            for remembered in (self._good, self._others):
                name = remembered.get(digest, self._clock())
                if name is not None:
                    return name
            if digest in self._good:
                await self._ask_or_wait(digest, token)
            else:
                with self._place():
                    await self._ask_or_wait(digest, token, peer)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Let only so many wait. Raises: Rejected."""
        if self._waiting >= _MAX_WAITING:
            raise later("too many tokens are being reviewed", _RETRY_S)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _ask_or_wait(self, digest: bytes, token: str, payer: str = "") -> None:
        """Review, or wait for the call that does; if that was cancelled, its place is free."""
        asking = self._asking.get(digest)
        if asking is None:
            if payer:
                self._deposits.take(payer, self._clock())
            await self._ask(digest, token, payer)
            return
        await asking.done.wait()
        if asking.failure is not None:
            raise asking.failure

    async def _ask(self, digest: bytes, token: str, payer: str) -> None:
        """Review for all calls that show this token meanwhile; cancelled, the next of them does it."""
        now = self._clock()
        asking = self._asking[digest] = _Asking()
        try:
            name = await self._review(token)
        except Rejected as rejected:
            asking.failure = rejected
            raise
        finally:
            del self._asking[digest]
            asking.done.set()
        if name in self._allowed:
            self._good.put(digest, name, now)
            if payer:
                self._deposits.give_back(payer, self._clock())
        else:
            self._good.drop(digest)
            self._others.put(digest, name, now)


def reviewer_away(text: str) -> Rejected:
    """The API server cannot be asked about a token now."""
    return later(f"tokens cannot be reviewed now: {text}", _RETRY_S)


def _host(peer: str) -> str:
    """Return what of a peer is the same for all of its connections; gRPC writes ipv4:HOST:PORT."""
    return peer.rpartition(":")[0] or peer


def _bearer(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN:
                return token
    raise Rejected(grpc.StatusCode.UNAUTHENTICATED, "metadata authorization: Bearer TOKEN is wanted")
