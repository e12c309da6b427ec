"""What the API server itself writes into `metadata`, and what it refuses there."""

import re
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

from chaosplugin.sandbox.api.errors import Cause, bad_request
from chaosplugin.sandbox.api.resources import EVENTS, Object, Resource

ANNOTATION_BYTES = 262_144  # all annotations of an object, keys counted
LABEL_BYTES = 63
NAME_BYTES = 253

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # of generated names: no vowels, so no words
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character "
    f"(e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character "
    f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '{_LABEL_VALUE}')"
)
_KEY_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_KEY_NAME_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_KEY_NAME}')"
)
_KEPT = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
)


def owner_reference(owner: Object) -> Object:
    """Return the reference that makes `owner` the controller of another object, and waits for its end."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, cut off: how metadata tells time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def begin(resource: Resource, obj: Object, namespace: str, now: datetime) -> None:
    """Fill the metadata of an object to be created.

    Raises:
        ApiError: 400, when the body contradicts the path or has no name.
    """
    metadata: Object = obj.get("metadata") or {}
    obj["metadata"] = metadata
    if resource.namespaced:
        if metadata.setdefault("namespace", namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
    else:
        metadata.pop("namespace", None)
    if not metadata.get("name"):
        prefix = metadata.get("generateName", "")
        if not prefix:
            raise bad_request("name or generateName is required")
        metadata["name"] = suffixed(prefix)
    for key in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation", "managedFields"):
        metadata.pop(key, None)
    metadata["uid"] = str(uuid4())
    metadata["creationTimestamp"] = timestamp(now)
    if resource.generation:
        metadata["generation"] = 1


def suffixed(stem: str) -> str:
    """Return a name that nobody has, as of `generateName`."""
    return stem[:58] + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def carry_over(old: Object, new: Object) -> None:
    """Keep what a client cannot change, whatever it sent."""
    was, metadata = old["metadata"], new["metadata"]
    for key in _KEPT:
        if key in was:
            metadata[key] = was[key]
        else:
            metadata.pop(key, None)
    for key in ("selfLink", "managedFields"):
        metadata.pop(key, None)
    for key in ("labels", "annotations", "finalizers", "ownerReferences"):
        if not metadata.get(key):
            metadata.pop(key, None)


def bump(resource: Resource, old: Object, new: Object) -> None:
    """Raise `generation` where the real server does.

    Of a custom resource without /status every change outside metadata counts, so also one of its status.
    """
    if not resource.generation:
        return
    ignored = {"metadata"} | ({"status"} if resource.status else set())
    if any(old.get(key) != new.get(key) for key in {*old, *new} - ignored):
        new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1


def refusals(resource: Resource, obj: Object) -> Iterator[Cause]:
    """Yield what is wrong with the metadata of an object."""
    metadata = obj["metadata"]
    name = metadata["name"]
    if len(name) > NAME_BYTES:
        message = f'Invalid value: "{name}": must be no more than {NAME_BYTES} characters'
        yield Cause("metadata.name", "FieldValueInvalid", message)
    elif resource is not EVENTS and not re.fullmatch(_SUBDOMAIN, name):
        message = f'Invalid value: "{name}": {_SUBDOMAIN_RULE}'
        yield Cause("metadata.name", "FieldValueInvalid", message)
    yield from _labels(metadata.get("labels") or {})
    annotations = metadata.get("annotations") or {}
    yield from _keys("metadata.annotations", annotations)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATION_BYTES:
        message = f"Too long: may not be more than {ANNOTATION_BYTES} bytes"
        yield Cause("metadata.annotations", "FieldValueTooLong", message)
    yield from _owners(metadata.get("ownerReferences") or ())


def _keys(field: str, given: Iterable[str]) -> Iterator[Cause]:
    for key in given:
        prefix, slash, name = (key.lower() if field == "metadata.annotations" else key).rpartition("/")
        if slash and not re.fullmatch(_SUBDOMAIN, prefix):
            wrong = f"prefix part {_SUBDOMAIN_RULE}"
        elif len(name) > LABEL_BYTES:
            wrong = f"name part must be no more than {LABEL_BYTES} characters"
        elif not re.fullmatch(_KEY_NAME, name):
            wrong = _KEY_NAME_RULE
        else:
            continue
        yield Cause(field, "FieldValueInvalid", f'Invalid value: "{key}": {wrong}')


def _labels(labels: dict[str, str]) -> Iterator[Cause]:
    yield from _keys("metadata.labels", labels)
    for value in labels.values():
        if len(value) > LABEL_BYTES:
            message = f'Invalid value: "{value}": must be no more than {LABEL_BYTES} bytes'
            yield Cause("metadata.labels", "FieldValueInvalid", message)
        elif not re.fullmatch(_LABEL_VALUE, value):
            yield Cause(
                "metadata.labels", "FieldValueInvalid", f'Invalid value: "{value}": {_LABEL_VALUE_RULE}'
            )


def _owners(owners: Iterable[Object]) -> Iterator[Cause]:
    owners = list(owners)
    for number, owner in enumerate(owners):
        for key in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(key):
                field = f"metadata.ownerReferences[{number}].{key}"
                yield Cause(field, "FieldValueInvalid", 'Invalid value: "": must not be empty')
    controllers = [owner for owner in owners if owner.get("controller")]
    if len(controllers) > 1:
        first, second = (f"{owner['kind']}/{owner['name']}" for owner in controllers[:2])
        message = (
            "Invalid value: [...]: Only one reference can have Controller set to true. "
            f'Found "true" in references for {first} and {second}'
        )
        yield Cause("metadata.ownerReferences", "FieldValueInvalid", message)


def types(obj: Object) -> str:
    """Say what is of a wrong JSON type in metadata, or return ""."""
    metadata = obj.get("metadata")
    if metadata is None:
        return ""
    if not isinstance(metadata, dict):
        return "json: cannot unmarshal into Go struct field ObjectMeta.metadata"
    for key in ("labels", "annotations"):
        texts = metadata.get(key) or {}
        if not isinstance(texts, dict) or any(not isinstance(value, str) for value in texts.values()):
            return f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{key} of type string"
    for key, kind in (("finalizers", str), ("ownerReferences", dict)):
        listed = metadata.get(key) or []
        if not isinstance(listed, list) or any(not isinstance(each, kind) for each in listed):
            return f"json: cannot unmarshal into Go struct field ObjectMeta.metadata.{key} of type slice"
    return ""
