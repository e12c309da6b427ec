"""What can be done with one kind of object: read, list, create, patch and delete, as Kubernetes names it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from chaosplugin.kube.decoding import decode
from chaosplugin.kube.limiter import Priority
from chaosplugin.kube.pages import read_pages
from chaosplugin.kube.resources import Resource
from chaosplugin.kube.session import Request, Session
from chaosplugin.provider.facts import gate
from chaosplugin.provider.ports import Invalid

T = TypeVar("T")

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Verbs:
    """Typed requests to one API server. Every method raises ClusterError."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def read(self, resource: Resource, namespace: str, name: str, type_: type[T]) -> T:
        """Read an object; where a fault is on, the verdict may wait for it."""
        asker = gate.get()
        pressing = asker is not None and asker.pressing
        request = Request(
            method="GET",
            path=resource.path(namespace, name),
            what=f"read {resource.singular} {_place(namespace, name)}",
            priority=Priority.VERDICT if pressing else Priority.READ,
        )
        return await self.answer(request, type_)

    async def list(
        self, resource: Resource, namespace: str, query: Mapping[str, str], type_: type[T]
    ) -> list[T]:
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        what = f"list {resource.plural} {where}"
        found: list[T] = []
        async for page in read_pages(self._session, resource.path(namespace), query, what):
            found += [decode(item, type_, what) for item in page.items or ()]
        return found

    async def create(
        self,
        resource: Resource,
        manifest: Mapping[str, object],
        type_: type[T],
        priority: Priority = Priority.READ,
        *,
        query: Mapping[str, str] = _NOTHING,
        repeat: bool = True,
    ) -> T:
        """Create what a manifest with namespace and name says; one that is repeated may meet itself."""
        metadata = manifest.get("metadata")
        if not isinstance(metadata, Mapping):
            raise Invalid(f"create {resource.singular}: the manifest has no metadata")
        namespace, name = str(metadata.get("namespace")), str(metadata.get("name"))
        request = Request(
            method="POST",
            path=resource.path(namespace),
            what=f"create {resource.singular} {namespace}/{name}",
            query=query,
            body=_json(manifest),
            priority=priority,
            repeat=repeat,
        )
        return await self.answer(request, type_)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Mapping[str, object],
        type_: type[T],
        priority: Priority = Priority.VERDICT,
    ) -> T:
        """Merge a patch (RFC 7386) into an object, and return it."""
        request = Request(
            method="PATCH",
            path=resource.path(namespace, name),
            what=f"patch {resource.singular} {_place(namespace, name)}",
            body=_json(patch),
            content_type="application/merge-patch+json",
            priority=priority,
        )
        return await self.answer(request, type_)

    async def delete(
        self, resource: Resource, namespace: str, name: str, uid: str, priority: Priority = Priority.READ
    ) -> None:
        """Delete the very object of that uid; what it owns goes in the background."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        request = Request(
            method="DELETE",
            path=resource.path(namespace, name),
            what=f"delete {resource.singular} {namespace}/{name}",
            body=msgspec.json.encode(options),
            priority=priority,
        )
        await self._session.send(request)

    async def answer(self, request: Request, type_: type[T]) -> T:
        """Send a request and read its answer."""
        return decode(await self._session.send(request), type_, request.what)


def _place(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _json(value: Mapping[str, object]) -> bytes:
    return msgspec.json.encode(value, enc_hook=dict)  # mappings that are no dict, such as read-only ones
