"""Whose a measurement is that Argo has stored, as it writes by name."""

import pytest

from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, Object
from tests.soak.objects import RUN, ended
from tests.soak.world import START, World, stamp


@pytest.mark.parametrize(
    ("digest", "began", "counts"),
    [
        ("digest", START, False),
        ("digest", START - 8, False),
        ("another", START - 8, True),  # begun by what was stored of the predecessor
        ("", START - 8, False),
        ("", START, True),
    ],
)
def test_what_is_stored_with_the_successor_of_a_deleted_run_may_be_of_that_one(
    digest: str, began: float, counts: bool
) -> None:
    world = World()
    world.write(ANALYSIS_RUNS, "run", {"status": world.status})
    world.now += 0.3
    measured: Object = {"phase": "Inconclusive", "startedAt": stamp(began), "finishedAt": stamp(world.now)}
    measured |= {"metadata": {RUN: digest}} if digest else {}
    results = [{"name": "a", "measurements": [measured]}]
    world.write(ANALYSIS_RUNS, "next", {"status": {"metricResults": results}})

    assert bool(ended(world.place.runs["next"], "a", world.place)) is counts
