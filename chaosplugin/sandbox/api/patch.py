"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from typing import Any

from chaosplugin.sandbox.api.errors import ApiError, bad_request

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"

MAX_OPERATIONS = 10_000  # as kube-apiserver has it


def merge(target: Any, patch: Any) -> Any:
    """Apply a merge patch; `target` is left as it is."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def apply(document: Any, operations: Any) -> Any:
    """Apply a JSON patch in place and return the document.

    Raises:
        ApiError: 400 for what is no patch, 422 where an operation does not fit the document.
    """
    if not isinstance(operations, list) or len(operations) > MAX_OPERATIONS:
        raise bad_request(f"a JSON patch is a list of at most {MAX_OPERATIONS} operations")
    for operation in operations:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise bad_request("each operation of a JSON patch is an object with op and path")
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: dict[str, Any]) -> Any:
    path = _pointer(operation["path"])
    match operation.get("op"):
        case "add":
            return _add(document, path, operation.get("value"))
        case "remove":
            _remove(document, path)
        case "replace":
            if not path:
                return operation.get("value")
            _find(document, path)
            _remove(document, path)
            return _add(document, path, operation.get("value"))
        case "test":
            if _find(document, path) != operation.get("value"):
                raise _unfit(operation["path"], "test failed")
        case "copy":
            return _add(document, path, _find(document, _pointer(str(operation.get("from", "")))))
        case "move":
            origin = _pointer(str(operation.get("from", "")))
            value = _find(document, origin)
            _remove(document, origin)
            return _add(document, path, value)
        case other:
            raise bad_request(f"unknown JSON patch operation {other!r}")
    return document


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise bad_request(f"JSON pointer {text!r} does not begin with a slash")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _unfit(path: str, why: str) -> ApiError:
    message = f"the server rejected our request due to an error in our request: {path}: {why}"
    return ApiError(422, "Invalid", message, {})


def _find(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list) and part.isdigit() and int(part) < len(document):
            document = document[int(part)]
        else:
            raise _unfit("/" + "/".join(path), "no such path")
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and last == "-":
        parent.append(value)
    elif isinstance(parent, list) and last.isdigit() and int(last) <= len(parent):
        parent.insert(int(last), value)
    else:
        raise _unfit("/" + "/".join(path), "no such parent")
    return document


def _remove(document: Any, path: list[str]) -> None:
    if not path:
        raise bad_request("a JSON patch cannot remove the whole object")
    _find(document, path)
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
