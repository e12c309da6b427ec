"""Jaeger's answer as trees of text: `python -m tests.observability.tree URL-OF-JAEGER`."""

import sys
from collections.abc import Iterator

from tests.observability.judges import Jaeger, Json

_TAGS = ("chaos.verdict", "chaos.reason", "chaos.targets.count", "http.response.status_code", "chaos.phase")


def lines(trace: Json) -> Iterator[str]:
    """Yield a line a span: when it began, how long it took, what it was and how it ended."""
    spans = sorted(trace["spans"], key=lambda span: (span["startTime"], -span["duration"]))
    first = spans[0]["startTime"]

    def below(parent: str | None, depth: int) -> Iterator[str]:
        for span in spans:
            reference = span["references"][0]["spanID"] if span["references"] else None
            if reference == parent:
                tags = {tag["key"]: tag["value"] for tag in span["tags"]}
                told = " ".join(f"{key.removeprefix('chaos.')}={tags[key]}" for key in _TAGS if key in tags)
                times = f"{(span['startTime'] - first) / 1e6:8.3f} s {span['duration'] / 1e6:8.3f} s"
                yield f"{times}  {'  ' * depth}{span['operationName']}  {told}".rstrip()
                yield from below(span["spanID"], depth + 1)

    yield f"trace {trace['traceID']}"
    yield from below(None, 0)


if __name__ == "__main__":
    for found in Jaeger(sys.argv[1], "", "").traces():
        sys.stdout.write("\n".join(lines(found)) + "\n\n")
