"""What we may do, as the API server says, remembered for a while."""

import time
from collections.abc import Awaitable, Callable

import anyio
import msgspec

from chaosplugin.kube import resources
from chaosplugin.kube.session import Request
from chaosplugin.provider.ports import Access

_REMEMBER_S = 600.0  # a right that is granted or taken is noticed after that
_NEVER = (0.0, False)


class Review(msgspec.Struct):
    """The answer, as far as it is read."""

    class _Status(msgspec.Struct):
        allowed: bool = False

    status: _Status


class Reviews:
    """Answers to SelfSubjectAccessReviews. What is allowed in all namespaces is asked for once."""

    def __init__(self, ask: Callable[[Request], Awaitable[Review]]) -> None:
        self._ask = ask
        self._known: dict[Access, tuple[float, bool]] = {}
        self._asking: dict[Access, anyio.Lock] = {}

    def remembered(self, access: Access) -> bool | None:
        """Return an answer without a question; None: there is none, or it is too old."""
        now = time.monotonic()
        if access.namespace:  # mostly it is allowed everywhere
            until, allowed = self._known.get(Access(access.verb, access.group, access.resource), _NEVER)
            if allowed and now < until:
                return True
        until, allowed = self._known.get(access, _NEVER)
        return allowed if now < until else None

    async def allowed(self, access: Access) -> bool:
        """Ask, unless it is remembered."""
        known = self.remembered(access)
        if known is not None:
            return known
        async with self._asking.setdefault(access, anyio.Lock()):  # many gates ask at once
            known = self.remembered(access)
            if known is not None:
                return known
            anywhere = access._replace(namespace="")
            allowed = bool(access.namespace) and await self.allowed(anywhere)
            if not allowed:
                allowed = (await self._ask(_request(access))).status.allowed
            self._known[access] = (time.monotonic() + _REMEMBER_S, allowed)
            return allowed


def _request(access: Access) -> Request:
    attributes = {
        "verb": access.verb,
        "group": access.group,
        "resource": access.resource,
        "namespace": access.namespace,
    }
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    where = f"in namespace {access.namespace}" if access.namespace else "in all namespaces"
    return Request(
        method="POST",
        path=resources.ACCESS_REVIEWS.path(),
        what=f"ask whether we may {access.verb} {access.resource} {where}",
        body=msgspec.json.encode(body),
    )
