"""The trace of a measurement: ids that whoever works on it derives alike, after whatever death.

Argo's calls carry no trace context, and a process may end before it has told anything. So nothing is handed
on: the ids are digests of what is asked, and the spans of several processes meet in one trace.
"""

import hashlib
from functools import lru_cache

from msgspec import Struct

from chaosplugin.core.ledger import Identity

ROOT = ""
"""Name of the span of the gate as a whole."""


class Trace(Struct, frozen=True, gc=False):
    """Ids in hexadecimal digits: 32 of the trace, 16 of a span."""

    id: str

    def span(self, name: str) -> str:
        """Return the id of the one span of this name."""
        return _known_digest(f"{self.id}\n{name}", 16)

    def parent(self, name: str, *, sampled: bool) -> str:
        """Return a W3C traceparent that makes that span the parent."""
        return traceparent(self.id, self.span(name), sampled=sampled)


def trace_of(identity: Identity, errors: int) -> Trace:
    """Return the trace of one try of an intent: Argo measures anew after an Error, and counts it."""
    return _trace(identity.analysis_run_uid, identity.metric, identity.intent, errors)


@lru_cache(maxsize=4096)
def _trace(uid: str, metric: str, intent: int, errors: int) -> Trace:
    return Trace(_digest(f"{uid}\n{metric}\n{intent}\n{errors}", 32))


def traceparent(trace_id: str, span_id: str, *, sampled: bool) -> str:
    """Return the header of W3C Trace Context, version 00."""
    return f"00-{trace_id}-{span_id}-{'01' if sampled else '00'}"


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(f"trace\n{text}".encode()).hexdigest()[:digits]


_known_digest = lru_cache(maxsize=4096)(_digest)
