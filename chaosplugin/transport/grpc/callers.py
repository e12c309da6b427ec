"""Who calls, and in which namespaces that caller may act."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import grpc
from google.protobuf.message import Message

from chaosplugin.transport.grpc.status import Rejected

Context = grpc.aio.ServicerContext[Message, Message]


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
        raise not_listed(found[0])


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


def not_listed(name: str) -> Rejected:
    """Say of somebody who is known that the operator lets others in."""
    return Rejected(
        grpc.StatusCode.PERMISSION_DENIED,
        f"{name[:253]} is known, but not allowed: the operator may allow it by --allow-client",
    )
