"""A mark is taken back only while it is the one that was made."""

from pathlib import Path

import pytest

from chaosplugin.core import ledger
from chaosplugin.core.commands import AnalysisRunSeen, WriteWake
from chaosplugin.core.ledger import Mark
from chaosplugin.core.policy import Policy
from chaosplugin.core.registry import Registry
from chaosplugin.kube.yaml import load
from chaosplugin.provider.performing import perform
from chaosplugin.provider.specs import Specs
from chaosplugin.sandbox.api import resources
from tests.provider.gate import NAMESPACE, clock, config, gate

MADE = Mark(kind="PodChaos", namespace=NAMESPACE, name="kill", version="7", by="here")
AGAIN = Mark(kind="PodChaos", namespace=NAMESPACE, name="kill", version="9", by="here")


@pytest.mark.parametrize(("there", "left"), [(MADE, None), (AGAIN, AGAIN), (None, None)])
async def test_a_late_wake_leaves_a_mark_that_was_made_since(
    tmp_path: Path, there: Mark | None, left: Mark | None
) -> None:
    async with gate(tmp_path) as bed:
        bed.deploy()
        analysis_run = bed.analysis_run()
        spec = Specs(policy=Policy(), load_yaml=load, origin=lambda: "").of(
            analysis_run, bed.metric(config())
        )
        registry = Registry("here")
        registry.start(clock(), spec, analysis_run, errors=0)
        run = registry.runs[spec.id]
        if there is not None:
            patch = ledger.mark_patch(spec.identity, there, "")
            bed.cluster.api.merge(resources.ANALYSIS_RUNS, NAMESPACE, analysis_run.metadata.name, patch)

        outcome = await perform(WriteWake(spec.id, "again", unmark=MADE), run, bed.home, bed.home)

        assert isinstance(outcome, AnalysisRunSeen)
        assert outcome.analysis_run is not None
        assert ledger.read_mark(outcome.analysis_run, spec.identity) == left
        assert "again" in bed.annotations().values(), "Argo is woken in any case"
