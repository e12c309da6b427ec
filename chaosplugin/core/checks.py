"""StatusChecks of a Workflow: how soon one can have failed.

Chaos Mesh asks once each interval, first when one is over, and counts failures in a row among the answers
that it remembers. It looks once each interval, too, whether the duration is over: a check whose last
answers are no success has failed then. One that is still asking at its step's end has failed for nobody.
Source: chaos-mesh controllers/statuscheck (worker, conditions), pkg/workflow/controllers
(statuscheck_reconciler, deadline_reconciler).
"""

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct

from chaosplugin.core.duration import text
from chaosplugin.core.forms import go_duration, mapping
from chaosplugin.core.refusal import InvalidConfig

_SECOND = timedelta(seconds=1)
_ENOUGH = 1_000_000
"""of seconds, or times: no gate takes that long"""
_DEFAULTS = {"intervalSeconds": 10, "failureThreshold": 3, "recordsHistoryLimit": 100}


class Check(Struct, frozen=True):
    """How long after its step's begin a check can have failed at the earliest, and why then."""

    fails_after: timedelta
    because: str


def read(key: str, given: object) -> Check:
    """Read `statusCheck` of a template. Numbers that are none are left to the API server.

    Raises:
        InvalidConfig: there is none, so that nothing is asked; or it cannot fail.
    """
    spec = mapping(key, given)
    interval, threshold, limit = (_number(spec, name) for name in _DEFAULTS)
    found = []
    if threshold <= limit:
        because = f"its intervalSeconds ({interval}) x failureThreshold ({threshold}) are over"
        found.append(Check(interval * threshold * _SECOND, because))
    if spec.get("duration") is not None:
        lasts = go_duration(f"{key}.duration", spec["duration"], "a Go duration such as 30s")
        # its begin is stored in whole seconds, and so may be up to one earlier
        looks = -((_SECOND - lasts) // (interval * _SECOND))
        because = f"its duration ({text(lasts)}) is over, in whole intervals of {interval}s"
        found.append(Check(max(looks, 0) * interval * _SECOND, because))
    if not found:
        raise InvalidConfig(
            f"{key}.failureThreshold",
            str(threshold),
            f"at most {limit}, its recordsHistoryLimit",
            "Chaos Mesh counts only the failures that it remembers",
        )
    return min(found, key=lambda check: check.fails_after)


def _number(spec: Mapping[str, object], name: str) -> int:
    given = spec.get(name)
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return min(given, _ENOUGH)
    return _DEFAULTS[name]
