"""The API server's own memory: what has happened to an object since a version of it or of another."""

import re

import msgspec

from chaosplugin.kube.errors import UNREADABLE, Gone
from chaosplugin.kube.lines import Event, Garbled, Lines
from chaosplugin.kube.pages import read_pages
from chaosplugin.kube.resources import Resource
from chaosplugin.kube.session import Request, Session

_LIMIT_S = 10.0  # the server ends that watch after one
_NUMBER = re.compile("[0-9]{1,20}")
_any_event = msgspec.json.Decoder(Event[msgspec.Raw])


async def created_since(
    session: Session, resource: Resource, namespace: str, name: str, version: str
) -> bool | None:
    """Tell whether an object was there at any time since; None: it is not remembered.

    The watch cache is replayed: kinds of one API server count their versions together. A watch from the
    future says nothing and ends well; such a version is of the time before a restored backup, so that the
    present one is looked at first. An order that is met where there is none only leads to None.
    Source: Kubernetes API concepts, resource versions (to be compared as numbers since 1.35).

    Raises:
        ClusterError: the API server cannot be asked.
    """
    path, only = resource.path(namespace), {"fieldSelector": f"metadata.name={name}"}
    what = f"look whether {resource.singular} {namespace}/{name} was created"
    async for page in read_pages(session, path, only, what):
        if _is_before(page.metadata.resource_version, version):
            return None
    since = {**only, "watch": "true", "resourceVersion": version, "timeoutSeconds": "1"}
    lines = Lines()
    try:
        request = Request(method="GET", path=path, what=what, query=since)
        async with session.stream(request, total_s=_LIMIT_S) as pieces:
            async for piece in pieces:
                for event in _any_event.decode_lines(lines.feed(piece)):
                    return None if event.type == "ERROR" else True
    except (Gone, Garbled, *UNREADABLE):
        return None
    return False


def _is_before(version: str, other: str) -> bool:
    """Tell if both are numbers, as Kubernetes makes them of 64 bits, and ordered so."""
    numbers = _NUMBER.fullmatch(version) and _NUMBER.fullmatch(other)
    return numbers is not None and int(version) < int(other)
