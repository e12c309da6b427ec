"""Ids that are derived alike, and differ where they must."""

import re

from chaosplugin.core.ledger import Identity
from chaosplugin.core.trace import ROOT, trace_of
from tests.core.world import World

ONE = Identity("run-1", "chaos", 1)


def test_everybody_derives_the_same_ids() -> None:
    first, second = trace_of(ONE, 0), trace_of(Identity("run-1", "chaos", 1), 0)

    assert first == second
    assert first.span("proof") == second.span("proof")
    assert re.fullmatch("[0-9a-f]{32}", first.id)
    assert re.fullmatch("[0-9a-f]{16}", first.span(ROOT))
    assert first.parent(ROOT, sampled=True) == f"00-{first.id}-{first.span(ROOT)}-01"
    assert first.parent(ROOT, sampled=False).endswith("-00")


def test_a_retry_the_next_measurement_and_another_metric_have_traces_of_their_own() -> None:
    others = [trace_of(Identity("run-1", "chaos", 2), 0), trace_of(Identity("run-1", "other", 1), 0)]
    ids = {trace.id for trace in [trace_of(ONE, 0), trace_of(ONE, 1), *others]}

    assert len(ids) == 4


def _annotations(world: World) -> dict[str, str]:
    annotations = world.to_create().manifest["annotations"]
    assert isinstance(annotations, dict)
    return annotations


def test_experiment_and_measurement_name_the_trace_only_where_it_is_recorded() -> None:
    traced, untraced = World(sampled=True), World()
    parent = trace_of(traced.spec.identity, 0).parent(ROOT, sampled=True)

    assert _annotations(traced)["chaosplugin.io/traceparent"] == parent
    assert traced.resume().metadata["traceparent"] == parent
    assert "chaosplugin.io/traceparent" not in _annotations(untraced)
    assert "traceparent" not in untraced.resume().metadata
