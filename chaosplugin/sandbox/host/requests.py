"""The host's way to the API server: requests and watches over HTTP."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import msgspec

from chaosplugin.sandbox.api.resources import Object, Resource

_LINE_BYTES = 4 * 1024 * 1024  # an object is at most 3 MiB
_MERGE_PATCH = "application/merge-patch+json"


class RequestError(Exception):
    """An answer that is an error; `reason` is the Status's word for it."""

    def __init__(self, message: str, status: int, reason: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Login:
    """Where the API server is, and as whom to come."""

    url: str
    token: str
    tls: ssl.SSLContext | None = None


class Requests:
    """One user's requests. A failed one raises RequestError, or aiohttp.ClientError without an answer."""

    def __init__(self, session: aiohttp.ClientSession, login: Login) -> None:
        self._session = session
        self._login = login

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        return await self._do("GET", path(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str = "", **query: str) -> Object:
        """Return the whole list object, with its resourceVersion."""
        return await self._do("GET", path(resource, namespace), query=query)

    async def create(self, resource: Resource, namespace: str, obj: Object) -> Object:
        whole = {"apiVersion": resource.api_version, "kind": resource.kind} | obj
        return await self._do("POST", path(resource, namespace), whole)

    async def patch(
        self, resource: Resource, namespace: str, name: str, change: Object, subresource: str = ""
    ) -> Object:
        """Merge-patch, without a resourceVersion, as Argo does."""
        where = path(resource, namespace, name) + (f"/{subresource}" if subresource else "")
        return await self._do("PATCH", where, change, content_type=_MERGE_PATCH)

    async def delete(self, resource: Resource, namespace: str, name: str) -> Object:
        return await self._do("DELETE", path(resource, namespace, name))

    async def watch(self, resource: Resource, version: str, namespace: str = "") -> AsyncIterator[Object]:
        """Yield events until the server ends the stream."""
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        async with self._session.get(
            self._login.url + path(resource, namespace),
            params=query,
            headers=self._headers(),
            ssl=self._login.tls or True,
        ) as response:
            if response.status >= 300:
                raise _error(await response.read(), response.status)
            async for line in response.content:
                yield msgspec.json.decode(line)

    async def _do(
        self,
        method: str,
        where: str,
        body: Object | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        async with self._session.request(
            method,
            self._login.url + where,
            params=query,
            data=None if body is None else msgspec.json.encode(body),
            headers=self._headers() | {"Content-Type": content_type},
            ssl=self._login.tls or True,
        ) as response:
            answer = await response.read()
        if response.status >= 300:
            raise _error(answer, response.status)
        decoded: Object = msgspec.json.decode(answer)
        return decoded

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._login.token}", "Accept": "application/json"}


@asynccontextmanager
async def connect(login: Login) -> AsyncIterator[Requests]:
    """Hold one HTTP session until the end of the block."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
    connector = aiohttp.TCPConnector(limit=0)  # watches never end, and must not use up the connections
    async with aiohttp.ClientSession(
        timeout=timeout, connector=connector, read_bufsize=_LINE_BYTES
    ) as session:
        yield Requests(session, login)


def path(resource: Resource, namespace: str = "", name: str = "") -> str:
    """Return a path of the API; without a namespace it is that of all namespaces."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    where = f"/namespaces/{namespace}" if namespace and resource.namespaced else ""
    return f"{root}/{resource.version}{where}/{resource.plural}" + (f"/{name}" if name else "")


def _error(body: bytes, status: int) -> RequestError:
    try:
        answer = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return RequestError(body[:200].decode(errors="replace"), status, "")
    return RequestError(str(answer.get("message", "")), status, str(answer.get("reason", "")))
