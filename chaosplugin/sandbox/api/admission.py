"""What stands between a write and the store: schemas, and webhooks in their order.

The order is: unknown fields under Strict (400), pruning and the schema (422), mutating webhooks, pruning
again, validating webhooks (403). The real server looks at the schema after the mutating webhooks, which is
the same to a client, as those of Chaos Mesh supply nothing that a schema requires.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from chaosplugin.sandbox.api import metadata
from chaosplugin.sandbox.api.access import Access, User
from chaosplugin.sandbox.api.errors import bad_request, invalid
from chaosplugin.sandbox.api.resources import Object, Resource
from chaosplugin.sandbox.api.schema import Schema


@dataclass(frozen=True, slots=True)
class Review:
    """One write as a webhook sees it. A mutating webhook changes `object` in place."""

    operation: Literal["CREATE", "UPDATE"]
    resource: Resource
    object: Object
    old: Object | None
    user: User
    access: Access

    @property
    def namespace(self) -> str:
        return str(self.object["metadata"].get("namespace", ""))


Webhook = Callable[[Review], None]
"""Returns to admit; raises ApiError to refuse."""


@dataclass(slots=True)
class Admission:
    """The schemas and webhooks of one API server."""

    access: Access
    schemas: dict[Resource, Schema] = field(default_factory=dict)
    mutating: list[Webhook] = field(default_factory=list)
    validating: list[Webhook] = field(default_factory=list)

    def decode(self, resource: Resource, obj: Object, *, strict: bool, duplicates: list[str]) -> None:
        """Refuse a body that is not an object of this resource.

        Raises:
            ApiError: 400, with every unknown or duplicate field in one message.
        """
        named = (obj.get("apiVersion", resource.api_version), obj.get("kind", resource.kind))
        if named != (resource.api_version, resource.kind):
            raise bad_request(
                f"the object provided is unrecognized (must be of type {resource.kind}): "
                f"got {named[0]}, Kind={named[1]}"
            )
        wrong = metadata.types(obj)
        schema = self.schemas.get(resource)
        if not wrong and strict:
            unknown = schema.unknown(obj) if schema else []
            found = [f'duplicate field "{path}"' for path in duplicates]
            found += [f'unknown field "{path}"' for path in unknown]
            wrong = f"strict decoding error: {', '.join(found)}" if found else ""
        if wrong:
            kind = resource.kind
            raise bad_request(
                f'{kind} in version "{resource.version}" cannot be handled as a {kind}: {wrong}'
            )

    def admit(self, review: Review) -> None:
        """Run the webhooks and the schema over one write.

        Raises:
            ApiError: 422 of the schema, 403 or 500 of a webhook.
        """
        schema = self.schemas.get(review.resource)
        causes = list(metadata.refusals(review.resource, review.object))
        if schema:
            schema.prune(review.object)
            causes += schema.refusals(review.object)
        if causes:
            raise invalid(review.resource, review.object["metadata"]["name"], causes)
        for webhook in self.mutating:
            webhook(review)
        if schema:
            schema.prune(review.object)
            schema.fill(review.object)
        for webhook in self.validating:
            webhook(review)
