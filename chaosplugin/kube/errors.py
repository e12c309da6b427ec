"""Answers of an API server that are no success, as the errors that the provider knows.

Source of the shapes: metav1.Status (apimachinery pkg/apis/meta/v1/types.go) and the texts of the API
server's admission plugins. A message is one line for a user: what was asked of which object, and the
server's own words, cut to a length and without any credential.
"""

import re
from typing import Annotated

import msgspec

from chaosplugin.provider.ports import (
    AlreadyExists,
    ClusterError,
    Conflict,
    Denied,
    Invalid,
    NotFound,
    Unavailable,
)

_MAX_MESSAGE = 300  # characters of the server's own words
_DIGITS = 20  # of a number of seconds; Python refuses to read thousands
_BLANKS = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w\-.~+/]{8,}=*|(?<![\w-])eyJ[\w-]+\.[\w-]+\.[\w-]+")
"""A token begins where no character of one stands before: tried in its midst too, a text of nothing but
beginnings would cost the square of its length."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding an answer can raise: it is no JSON or of another shape, no UTF-8, or nested without end."""

Seconds = Annotated[int, msgspec.Meta(ge=0)]


class Gone(ClusterError):
    """410: the resourceVersion or continue token asked for is no longer kept; list anew."""


class NoCluster(Unavailable):
    """There is no usable way to a cluster: a kubeconfig, certificate or credential is missing or broken."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class TryLater(Unavailable):
    """429 or 5xx; `retry_after` is the number of seconds that the server asked for, 0 if it did not."""

    def __init__(self, message: str, *, status: int, sent: bool, retry_after: float) -> None:
        super().__init__(message, status=status, sent=sent)
        self.retry_after = retry_after


class StatusDetails(msgspec.Struct, rename="camel"):
    """`details` of a Status."""

    name: str = ""
    retry_after_seconds: Seconds = 0


class Status(msgspec.Struct):
    """A metav1.Status, as body of an answer or as object of a watch's ERROR event."""

    message: str | None = None
    reason: str | None = None
    code: int = 0
    details: StatusDetails | None = None

    @property
    def words(self) -> str:
        return self.message or self.reason or ""


_decoder = msgspec.json.Decoder(Status)


def parse_status(body: bytes) -> Status | None:
    """Read a Status; None for anything else, such as a proxy's page."""
    try:
        status = _decoder.decode(body)
    except UNREADABLE:
        return None
    return status if status.words or status.code else None


def one_line(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Fold blanks, hide what looks like a credential, and cut."""
    text = _BEARER.sub("(credential)", _BLANKS.sub(" ", text).strip())
    return text if len(text) <= limit else text[: limit - 1] + "…"


_BY_CODE: dict[int, type[ClusterError]] = {
    **dict.fromkeys((400, 405, 413, 415, 422), Invalid),
    **dict.fromkeys((401, 403), Denied),
    409: Conflict,
    410: Gone,
}


def refusal(code: int, body: bytes, what: str, retry_after: str = "") -> ClusterError:
    """Make an error of an answer with HTTP status `code` to the request called `what`.

    `retry_after` is the header of that name; a date in it counts as none.
    """
    status = parse_status(body)
    words = status.words if status else body[: 4 * _MAX_MESSAGE].decode(errors="replace")
    message = f"{what}: {one_line(words) or 'no reason given'} (HTTP {code})"
    if code == 404:
        named = status is not None and status.details is not None and status.details.name != ""
        return NotFound(message, no_kind=not named)
    if code == 409 and status is not None and status.reason == "AlreadyExists":
        return AlreadyExists(message, status=code)
    if code == 500 and "denied the request" in words:  # a webhook that panicked
        return Denied(message, status=code)
    if code == 429 or code >= 500:
        # Turned away before it was looked at, or stopped by admission, which comes before storage.
        refused = code == 429 or (code == 500 and "failed calling webhook" in words)
        wait = int(retry_after) if retry_after.isdecimal() and len(retry_after) < _DIGITS else 0
        if not wait and status is not None and status.details is not None:
            wait = status.details.retry_after_seconds
        return TryLater(message, status=code, sent=not refused, retry_after=float(min(wait, 3600)))
    return _BY_CODE.get(code, ClusterError)(message, status=code)
