"""The answers of an API server, read as what they must be."""

from typing import TypeVar

import msgspec

from chaosplugin.kube.errors import UNREADABLE
from chaosplugin.provider.ports import Unavailable

T = TypeVar("T")


def decode(body: bytes | msgspec.Raw, type_: type[T], what: str) -> T:
    """Read an answer; `what` was asked.

    Raises:
        Unavailable: it is none of an API server's, such as a proxy's page.
    """
    try:
        return msgspec.json.decode(body, type=type_)
    except UNREADABLE as error:
        message = f"{what}: an answer that cannot be read: {error}"
        raise Unavailable(message, status=200, sent=True) from None
