"""LIST: pages, their continue tokens, and the JSON of a list."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from chaosplugin.sandbox.api.errors import bad_request, expired, too_large
from chaosplugin.sandbox.api.resources import Object, Resource
from chaosplugin.sandbox.api.selectors import EVERYTHING, Selector
from chaosplugin.sandbox.api.store import Store, Stored


class _Token(msgspec.Struct):
    rv: int
    start: tuple[str, str]


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The query of a LIST."""

    resource: Resource
    namespace: str = ""
    selector: Selector = EVERYTHING
    limit: int = 0
    token: str = ""
    revision: int = 0
    match: str = ""


def page(store: Store, options: ListOptions) -> bytes:
    """Return the JSON of one page.

    A later page shows what has changed since the first; its version is still that of the first, so a watch
    from there tells those changes again.

    Raises:
        ApiError: 400 for a token that is none, 410 for one (or an exact version) no longer known,
            504 for a version from the future.
    """
    resource = options.resource
    revision, start = store.revision, None
    if options.token:
        token = _read(options.token)
        revision, start = token.rv, token.start
        if revision < store.oldest(resource):
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You can start a new list without the continue parameter, "
                "or use the continue token in this response to retrieve "
                "the remainder of the results. Continuing with the provided token results in an "
                "inconsistent list - objects that were created, modified, or deleted between the time the "
                "first chunk was returned and now may show up in the list."
            )
    elif options.revision > store.revision:
        raise too_large(options.revision, store.revision)
    elif options.match == "Exact" and options.revision < store.oldest(resource):
        raise expired("The resourceVersion for the provided list is too old.")
    found = [
        each
        for each in store.list(resource, options.namespace)
        if (start is None or (each.namespace, each.name) >= start) and options.selector.matches(each.object)
    ]
    meta: Object = {"resourceVersion": str(revision)}
    if options.limit and len(found) > options.limit:
        rest = found[options.limit]
        meta["continue"] = _write(_Token(revision, (rest.namespace, rest.name)))
        if options.selector == EVERYTHING:
            meta["remainingItemCount"] = len(found) - options.limit
        found = found[: options.limit]
    return _encode(resource, meta, found)


def _encode(resource: Resource, meta: Object, found: Sequence[Stored]) -> bytes:
    head = {"apiVersion": resource.api_version, "items": [], "kind": f"{resource.kind}List", "metadata": meta}
    before, after = msgspec.json.encode(head).split(b'"items":[]')
    if resource.custom:
        items = b",".join([each.raw for each in found])
    else:
        items = b",".join([msgspec.json.encode(_untyped(each.object)) for each in found])
    return b'%b"items":[%b]%b' % (before, items, after)


def _untyped(obj: Object) -> Object:
    """Items of built-in kinds do not name their kind, as the real server's do not."""
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}


def _write(token: _Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode()


def _read(text: str) -> _Token:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Token)
    except (binascii.Error, msgspec.DecodeError, ValueError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
