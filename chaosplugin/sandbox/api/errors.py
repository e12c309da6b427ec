"""What the API server answers when it does not do as asked; the texts are those of the real one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from chaosplugin.sandbox.api.resources import Object, Resource


class ApiError(Exception):
    """A request refused, as a `Status` of the API."""

    media = "application/json"

    def __init__(
        self, code: int, reason: str, message: str, details: Object | None = None, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details
        self.retry_after = retry_after

    @property
    def status(self) -> Object:
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = str(self)
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return status | {"code": self.code}

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.status)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(self.retry_after)} if self.retry_after else {}


class NoPathError(ApiError):
    """404 of a path that is not served, also of a kind without its CRD: the only answer that is no Status."""

    media = "text/plain"

    def __init__(self) -> None:
        super().__init__(404, "NotFound", "404 page not found")

    @property
    def body(self) -> bytes:
        return f"{self}\n".encode()


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that was refused: its path, the kind of refusal, and what is said of it."""

    field: str
    reason: str
    message: str


def _details(resource: Resource, name: str) -> Object:
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return details | {"kind": resource.plural}


def unauthorized() -> ApiError:
    """401: no token, or none that is known."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def not_found(resource: Resource, name: str) -> ApiError:
    """404 of an object."""
    return ApiError(404, "NotFound", f'{resource.qualified} "{name}" not found', _details(resource, name))


def already_exists(resource: Resource, name: str, *, deleting: bool = False) -> ApiError:
    """409 of a create."""
    prefix = "object is being deleted: " if deleting else ""
    message = f'{prefix}{resource.qualified} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, _details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> ApiError:
    """409 of a write; by default of one from an old version."""
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(resource, name))


def forbidden(resource: Resource, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """403 of RBAC and of admission plugins."""
    named = f'{resource.qualified} "{name}"' if name else resource.qualified
    details = _details(resource, name)
    if causes:
        details["causes"] = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return ApiError(403, "Forbidden", f"{named} is forbidden: {why}", details)


def terminating(resource: Resource, name: str, namespace: str) -> ApiError:
    """403 of a create in a namespace that is being deleted."""
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    cause = Cause("metadata.namespace", "NamespaceTerminating", f"namespace {namespace} is being terminated")
    return forbidden(resource, name, why, [cause])


def kind_terminating(verb: str) -> ApiError:
    """What is asked of a kind whose CRD is being deleted."""
    message = f"{verb} not allowed while custom resource definition is terminating"
    return ApiError(405, "MethodNotAllowed", message)


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> ApiError:
    """422. One cause is told as it stands, several in brackets."""
    told = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
    if len(causes) > 1:
        told = f"[{told}]"
    details = {"name": name, "group": resource.group, "kind": resource.kind} | {
        "causes": [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    }
    return ApiError(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {told}', details)


def denied(webhook: str, why: str) -> ApiError:
    """403 of an admission webhook."""
    message = f'admission webhook "{webhook}" denied the request: {why}'
    return ApiError(403, "Forbidden", message)


def expired(message: str) -> ApiError:
    """410."""
    return ApiError(410, "Expired", message)


def too_old(wanted: int, oldest: int) -> ApiError:
    """410 of a watch."""
    return expired(f"too old resource version: {wanted} ({oldest})")


def too_large(wanted: int, current: int) -> ApiError:
    """504 of a version from the future."""
    text = "Too large resource version"
    causes = [{"reason": "ResourceVersionTooLarge", "message": text}]
    message = f"Timeout: {text}: {wanted}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1}, retry_after=1)


def unsupported_media(known: Sequence[str]) -> ApiError:
    """415: a body of another media type than the verb takes."""
    message = (
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(known)}"
    )
    return ApiError(415, "UnsupportedMediaType", message)


def too_many_requests(retry_after: int = 1) -> ApiError:
    """429."""
    message = (
        "The server is currently unable to handle the request: too many requests, please try again later."
    )
    return ApiError(
        429, "TooManyRequests", message, {"retryAfterSeconds": retry_after}, retry_after=retry_after
    )


def internal(message: str) -> ApiError:
    """500."""
    return ApiError(500, "InternalError", f"Internal error occurred: {message}")
