"""Jaeger's answer as text."""

from tests.observability.judges import Json
from tests.observability.tree import lines


def _span(name: str, id_: str, parent: str, start: float, **tags: object) -> Json:
    return {
        "operationName": name,
        "spanID": id_,
        "references": [{"spanID": parent}] if parent else [],
        "startTime": int(1e15 + start * 1e6),
        "duration": 1_500_000,
        "tags": [{"key": key.replace("_", "."), "value": value} for key, value in tags.items()],
    }


def test_children_stand_below_their_parents_in_the_order_of_time() -> None:
    spans = [
        _span("observe", "c", "a", 2),
        _span("chaos_gate PodChaos", "a", "", 0, chaos_verdict="failed"),
        _span("proof", "b", "a", 1),
        _span("get rollouts", "d", "b", 1.2),
    ]

    assert list(lines({"traceID": "t", "spans": spans})) == [
        "trace t",
        "   0.000 s    1.500 s  chaos_gate PodChaos  verdict=failed",
        "   1.000 s    1.500 s    proof",
        "   1.200 s    1.500 s      get rollouts",
        "   2.000 s    1.500 s    observe",
    ]
