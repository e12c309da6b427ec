"""Who calls, and in which namespaces that caller may act."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import anyio
import grpc
from google.protobuf.message import Message

from chaosplugin.transport.grpc.status import Rejected, later

Context = grpc.aio.ServicerContext[Message, Message]

_REMEMBER_S = 60.0  # a token that was taken back is noticed after that
_MAX_REMEMBERED = 1024
_MAX_TOKEN = 16 << 10
_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who is let in. `namespaces` None: all of them."""

    name: str
    namespaces: frozenset[str] | None = None

    def may_see(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces

    def check(self, namespace: str) -> None:
        """Refuse a namespace that is not the caller's. Raises: Rejected."""
        if not self.may_see(namespace):
            raise Rejected(
                grpc.StatusCode.PERMISSION_DENIED,
                f"{self.name} may not act in namespace {namespace[:253] or 'that has no name'}: the operator "
                "may allow it by --allow-client",
            )


class Callers(Protocol):
    """Finds out who calls."""

    async def identify(self, context: Context) -> Caller:
        """Raises: Rejected, for whoever is not let in."""
        ...


class Anybody:
    """Whoever reaches the server: a socket's permissions, or loopback, are the guard."""

    async def identify(self, context: Context) -> Caller:
        return Caller("a local process" if context.peer().startswith("unix:") else "anybody")


class Certified:
    """The names in a client's certificate, which TLS has verified: common name and alternative names."""

    def __init__(self, allowed: Mapping[str, frozenset[str] | None]) -> None:
        self._allowed = allowed

    async def identify(self, context: Context) -> Caller:
        auth = context.auth_context()
        names: Iterable[bytes] = (
            *auth.get("x509_subject_alternative_name", ()),
            *auth.get("x509_common_name", ()),
        )
        found = [name.decode(errors="replace") for name in names]
        for name in found:
            if name in self._allowed:
                return Caller(name, self._allowed[name])
        if not found:
            raise Rejected(grpc.StatusCode.UNAUTHENTICATED, "a client certificate is wanted")
        raise _not_listed(found[0])


@dataclass(slots=True)
class _Asking:
    """A review that is under way, for those who wait for it."""

    done: anyio.Event = field(default_factory=anyio.Event)
    failure: Rejected | None = None


class Tokens:
    """Kubernetes tokens, reviewed by the API server, and remembered for a minute."""

    def __init__(
        self,
        allowed: Mapping[str, frozenset[str] | None],
        review: Callable[[str], Awaitable[str]],
    ) -> None:
        """`review` returns the user's name, "" for a token that is none. Raises: Rejected."""
        self._allowed = allowed
        self._review = review
        self._known: OrderedDict[bytes, tuple[float, str]] = OrderedDict()
        self._asking: dict[bytes, _Asking] = {}

    async def identify(self, context: Context) -> Caller:
        name = await self._name(_bearer(context))
        if not name:
            raise Rejected(grpc.StatusCode.UNAUTHENTICATED, "the token is not valid here")
        if name not in self._allowed:
            raise _not_listed(name)
        return Caller(name, self._allowed[name])

    async def _name(self, token: str) -> str:
        digest = hashlib.sha256(token.encode()).digest()
        while True:
            known = self._known.get(digest)
            if known is not None and time.monotonic() < known[0]:
                return known[1]
            asking = self._asking.get(digest)
            if asking is None:
                return await self._ask(digest, token)
            await asking.done.wait()
            if asking.failure is not None:
                raise asking.failure

    async def _ask(self, digest: bytes, token: str) -> str:
        """Review for all calls that show this token meanwhile; cancelled, the next of them does it."""
        now = time.monotonic()
        asking = self._asking[digest] = _Asking()
        try:
            name = await self._review(token)
        except Rejected as rejected:
            asking.failure = rejected
            raise
        finally:
            del self._asking[digest]
            asking.done.set()
        self._known[digest] = (now + _REMEMBER_S, name)
        self._known.move_to_end(digest)
        if len(self._known) > _MAX_REMEMBERED:
            self._known.popitem(last=False)
        return name


class LocalOr:
    """Unix sockets by their permissions, all else as `others` say."""

    def __init__(self, others: Callers) -> None:
        self._local = Anybody()
        self._others = others

    async def identify(self, context: Context) -> Caller:
        if context.peer().startswith("unix:"):
            return await self._local.identify(context)
        return await self._others.identify(context)


def parse_allowed(entries: Iterable[str]) -> dict[str, frozenset[str] | None]:
    """Read `NAME` (all namespaces) and `NAME=NAMESPACE,NAMESPACE`; a name given twice has both lists."""
    allowed: dict[str, frozenset[str] | None] = {}
    for entry in entries:
        name, equals, listed = entry.rpartition("=")
        if not equals:
            allowed[entry] = None
            continue
        namespaces = frozenset(part.strip() for part in listed.split(",") if part.strip())
        before = allowed.get(name, frozenset())
        allowed[name] = None if before is None else before | namespaces
    return allowed


def reviewer_away(text: str) -> Rejected:
    """The API server cannot be asked about a token now."""
    return later(f"tokens cannot be reviewed now: {text}", _RETRY_S)


def _not_listed(name: str) -> Rejected:
    return Rejected(
        grpc.StatusCode.PERMISSION_DENIED,
        f"{name[:253]} is known, but not allowed: the operator may allow it by --allow-client",
    )


def _bearer(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str):
            scheme, _, token = value.partition(" ")
            if scheme.lower() == "bearer" and 0 < len(token) <= _MAX_TOKEN:
                return token
    raise Rejected(grpc.StatusCode.UNAUTHENTICATED, "metadata authorization: Bearer TOKEN is wanted")
