"""What each verb does with a request's query and body; HTTP itself stays in `server`."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from chaosplugin.sandbox.api import errors, patch, paths
from chaosplugin.sandbox.api.access import Request, User
from chaosplugin.sandbox.api.deletion import DeleteOptions
from chaosplugin.sandbox.api.listing import ListOptions, page
from chaosplugin.sandbox.api.paths import Target
from chaosplugin.sandbox.api.resources import NAMESPACES, TOKEN_REVIEWS, Object
from chaosplugin.sandbox.api.selectors import Selector
from chaosplugin.sandbox.api.selectors import parse as parse_selector
from chaosplugin.sandbox.api.store import Stored
from chaosplugin.sandbox.api.verbs import Api, Write
from chaosplugin.sandbox.api.watch import WATCH_SECONDS, WatchOptions

REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
TOKEN_REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - no password
REVIEWS = {REVIEW: "selfsubjectaccessreviews", TOKEN_REVIEW: "tokenreviews"}
"""What is asked by a POST and kept nowhere: resource by path."""

_JSON = "application/json"
_SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body and the media type it claims."""

    raw: bytes
    media: str

    def decode(self) -> Any:
        """Decode JSON.

        Raises:
            ApiError: 400, when it is none.
        """
        try:
            return msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, RecursionError) as error:
            raise errors.bad_request(f"the object provided is unrecognized: {error}") from error

    def object(self) -> Object:
        return _object(self.decode())

    def options(self) -> DeleteOptions:
        return DeleteOptions.of(self.decode() if self.raw else None)

    def duplicates(self) -> list[str]:
        """Return the paths of fields that one object has twice."""
        return list(_twice(json.loads(self.raw, object_pairs_hook=_Pairs), ""))


class _Pairs(dict[str, Any]):
    """An object of JSON that remembers which of its names came again."""

    def __init__(self, items: list[tuple[str, Any]]) -> None:
        super().__init__(items)
        names = [name for name, _ in items]
        self.again = [name for name in self if names.count(name) > 1] if len(self) < len(names) else []


def _twice(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        yield from (path + name for name in value.again)
        for name, inner in value.items():
            yield from _twice(inner, f"{path}{name}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _twice(inner, f"{path.removesuffix('.')}[{number}].")


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request for a resource."""

    user: User
    target: Target
    verb: str
    query: Mapping[str, str]
    body: Body

    @property
    def namespace(self) -> str:
        """The namespace of the object; that of a Namespace itself is none."""
        return "" if self.target.resource is NAMESPACES else self.target.namespace

    @property
    def write(self) -> Write:
        strict = self.query.get("fieldValidation") == "Strict"
        duplicates = self.body.duplicates() if strict else []
        return Write(self.user, strict, self.query.get("dryRun") == "All", duplicates)

    @property
    def selector(self) -> Selector:
        labels, fields = self.query.get("labelSelector", ""), self.query.get("fieldSelector", "")
        return parse_selector(labels, fields, self.target.resource)

    def number(self, key: str) -> int:
        """Return a number of the query, 0 where it is absent.

        Raises:
            ApiError: 400, when it is no number.
        """
        text = self.query.get(key, "") or "0"
        if not text.isdigit():
            raise errors.bad_request(f'invalid value for {key}: "{text}"')
        return int(text)

    def flag(self, key: str) -> bool:
        return self.query.get(key) in {"1", "true"}

    def list_options(self) -> ListOptions:
        return ListOptions(
            self.target.resource,
            self.target.namespace,
            self.selector,
            self.number("limit"),
            self.query.get("continue", ""),
            self.number("resourceVersion"),
            self.query.get("resourceVersionMatch", ""),
        )

    def watch_options(self) -> WatchOptions:
        return WatchOptions(
            self.target.resource,
            self.target.namespace,
            self.selector,
            self.number("resourceVersion"),
            self.flag("allowWatchBookmarks"),
            self.flag("sendInitialEvents"),
            self.query.get("resourceVersionMatch", ""),
            self.number("timeoutSeconds") or WATCH_SECONDS,
        )


def authorize(api: Api, call: Call) -> None:
    """Ask the rules.

    Raises:
        ApiError: 403, with the text of RBAC.
    """
    resource = call.target.resource
    subresource = call.target.subresource
    named = f"{resource.plural}/{subresource}" if subresource else resource.plural
    question = Request(call.verb, resource.group, named, call.target.namespace, call.target.name)
    if not api.access.allowed(call.user, question):
        raise api.access.refusal(call.user, resource, question)


def perform(api: Api, call: Call) -> tuple[int, bytes]:
    """Do what a request asks, a watch apart; returns the status and JSON of the answer."""
    return _PERFORM[call.verb](api, call)


def _get(api: Api, call: Call) -> tuple[int, bytes]:
    return 200, api.get(call.target.resource, call.namespace, call.target.name).raw


def _list(api: Api, call: Call) -> tuple[int, bytes]:
    return 200, page(api.store, call.list_options())


def _create(api: Api, call: Call) -> tuple[int, bytes]:
    if call.body.media != _JSON:
        raise errors.unsupported_media([_JSON])
    obj = call.body.object()
    return 201, api.create(call.target.resource, obj, call.namespace, call.write).raw


def _update(api: Api, call: Call) -> tuple[int, bytes]:
    if call.body.media != _JSON:
        raise errors.unsupported_media([_JSON])
    sent = call.body.object()
    version = (sent.get("metadata") or {}).get("resourceVersion")
    if call.target.resource.custom and not version:
        message = "Invalid value: 0: must be specified for an update"
        cause = errors.Cause("metadata.resourceVersion", "FieldValueInvalid", message)
        raise errors.invalid(call.target.resource, call.target.name, [cause])
    return _change(api, call, lambda _: sent)


def _patch(api: Api, call: Call) -> tuple[int, bytes]:
    if call.body.media == patch.MERGE:
        sent = call.body.object()
        return _change(api, call, lambda old: _object(patch.merge(old, sent)))
    if call.body.media == patch.JSON:
        operations = call.body.decode()
        return _change(api, call, lambda old: _object(patch.apply(old, operations)))
    raise errors.unsupported_media([patch.JSON, patch.MERGE])


def _change(api: Api, call: Call, change: Callable[[Object], Object]) -> tuple[int, bytes]:
    target = call.target
    subresource: Literal["", "status"] = "status" if target.subresource else ""
    stored = api.update(target.resource, call.namespace, target.name, change, subresource, call.write)
    return 200, stored.raw


def _delete(api: Api, call: Call) -> tuple[int, bytes]:
    left = api.delete(call.target.resource, call.namespace, call.target.name, call.body.options())
    return 200, _deleted(call.target, left)


def _delete_collection(api: Api, call: Call) -> tuple[int, bytes]:
    options = call.body.options()
    for each in api.list(call.target.resource, call.target.namespace, call.selector):
        api.delete(call.target.resource, each.namespace, each.name, options)
    return 200, msgspec.json.encode(_SUCCESS)


_PERFORM: Mapping[str, Callable[[Api, Call], tuple[int, bytes]]] = {
    "get": _get,
    "list": _list,
    "create": _create,
    "update": _update,
    "patch": _patch,
    "delete": _delete,
    "deletecollection": _delete_collection,
}


def perform_other(api: Api, user: User, method: str, path: str, body: Body) -> tuple[int, bytes]:
    """Answer what is no resource: discovery and access reviews."""
    if path == REVIEW and method == "POST":
        return 201, msgspec.json.encode(_review(api, user, body.object()))
    if path == TOKEN_REVIEW and method == "POST":
        return 201, msgspec.json.encode(_review_token(api, user, body.object()))
    found = paths.discovery(path) if method == "GET" else None
    if found is None:
        raise errors.NoPathError
    return 200, msgspec.json.encode(found)


def _review_token(api: Api, user: User, review: Object) -> Object:
    """Say whose token it is; audiences are not kept here, so a token is good for those that are asked for."""
    asked = Request("create", "authentication.k8s.io", "tokenreviews")
    if not api.access.allowed(user, asked):
        raise api.access.refusal(user, TOKEN_REVIEWS, asked)
    spec = review.get("spec") or {}
    found = api.access.tokens.get(str(spec.get("token")))
    status: Object = {"authenticated": found is not None}
    if found is not None:
        names = {"username": found.name, "groups": list(found.groups)}
        status |= {"user": names, "audiences": spec.get("audiences") or []}
    return {**review, "status": status}


def _review(api: Api, user: User, review: Object) -> Object:
    asked = (review.get("spec") or {}).get("resourceAttributes") or {}
    resource = asked.get("resource", "")
    if asked.get("subresource"):
        resource = f"{resource}/{asked['subresource']}"
    verb, group = asked.get("verb", ""), asked.get("group", "")
    question = Request(verb, group, resource, asked.get("namespace", ""), asked.get("name", ""))
    return {
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": review.get("spec"),
        "status": {"allowed": api.access.allowed(user, question)},
    }


def _deleted(target: Target, left: Stored | None) -> bytes:
    """Return the object while something holds it, else a Status."""
    if left is not None:
        return left.raw
    details: Object = {"name": target.name, "kind": target.resource.plural}
    if target.resource.group:
        details["group"] = target.resource.group
    return msgspec.json.encode(_SUCCESS | {"details": details})


def _object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise errors.bad_request("the object provided is unrecognized: it is no JSON object")
    return value
