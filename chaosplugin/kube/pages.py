"""Lists, read by pages."""

from collections.abc import AsyncIterator, Mapping

import msgspec

from chaosplugin.kube.decoding import decode
from chaosplugin.kube.session import Request, Session
from chaosplugin.provider.ports import ClusterError

_PAGE = 500
_MAX_PAGES = 200


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct):
    """A part of a list. Its items are still to be decoded: one that cannot be is no reason to lose all."""

    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


async def read_pages(session: Session, path: str, query: Mapping[str, str], what: str) -> AsyncIterator[Page]:
    """Yield the pages of a list, all of one resourceVersion.

    Raises:
        Gone: the list took too long, and must be begun anew.
        ClusterError: it cannot be read, or is longer than 100,000 objects.
    """
    after = ""
    for _ in range(_MAX_PAGES):
        parameters = {**query, "limit": str(_PAGE), **({"continue": after} if after else {})}
        body = await session.send(Request(method="GET", path=path, what=what, query=parameters))
        page = decode(body, Page, what)
        yield page
        after = page.metadata.continue_
        if not after:
            return
    raise ClusterError(f"{what}: more than {_PAGE * _MAX_PAGES} objects")
