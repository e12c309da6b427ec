"""Lists, read by pages."""

from collections.abc import AsyncIterator, Mapping
from typing import Generic, TypeVar

import msgspec

from chaosplugin.kube.session import Request, Session
from chaosplugin.provider.ports import ClusterError, Unavailable

_PAGE = 500
_MAX_PAGES = 200

T = TypeVar("T")


class _ListMetadata(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, Generic[T]):
    """A part of a list."""

    metadata: _ListMetadata
    items: list[T] | None = None


async def read_pages(
    session: Session, path: str, query: Mapping[str, str], type_: type[T], what: str
) -> AsyncIterator[Page[T]]:
    """Yield the pages of a list, all of one resourceVersion.

    Raises:
        Gone: the list took too long, and must be begun anew.
        ClusterError: it cannot be read, or is longer than 100,000 objects.
    """
    decoder = msgspec.json.Decoder(Page[type_])  # type: ignore[valid-type]  # msgspec resolves it at run time
    after = ""
    for _ in range(_MAX_PAGES):
        parameters = {**query, "limit": str(_PAGE), **({"continue": after} if after else {})}
        body = await session.send(Request(method="GET", path=path, what=what, query=parameters))
        try:
            page = decoder.decode(body)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{what}: an answer that is no list: {error}", status=200, sent=True) from None
        yield page
        after = page.metadata.continue_
        if not after:
            return
    raise ClusterError(f"{what}: more than {_PAGE * _MAX_PAGES} objects")
