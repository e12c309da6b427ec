"""Before the fault: which targets are waited for, and which are refused."""

import pytest

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Create, Failed, LedgerRead, ReadLedger, ReadScope, WriteMark
from chaosplugin.core.run import Stage
from chaosplugin.core.verdict import Reason
from tests.core.given import HASH, analysis_run, pod, replica_set, rollout, scope_inputs
from tests.core.world import World


def test_no_pods_until_the_timeout_is_as_configured() -> None:
    world = World(on_no_targets=Phase.FAILED)
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods()
    world.prove()

    world.wait(31)

    assert world.verdict == (Phase.FAILED, Reason.NO_TARGETS)


def test_pods_that_do_not_get_ready_are_not_hit() -> None:
    world = World()
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b", ready=False))
    world.prove()

    world.wait(31)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_STEADY)
    assert "1 of 2 canary pods Ready" in world.message
    assert not [command for command in world.todo if isinstance(command, Create)]


def test_a_canary_without_all_its_replicas_is_waited_for() -> None:
    world = World()
    world.wanted = 3
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    assert world.stage is Stage.PROVING

    world.pods(pod("web-c"))
    world.prove()

    world.expect(WriteMark)


def test_the_stable_hash_is_refused_before_any_pod_is_ready() -> None:
    world = World()
    world.start()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a", ready=False))

    world.prove(scope_inputs(rollout=rollout(current="new", stable=HASH)))

    assert world.verdict == (Phase.ERROR, Reason.SCOPE_REFUSED)


@pytest.mark.parametrize("answered", [True, False])
def test_owners_that_cannot_be_read_are_no_fault_of_the_canary(answered: bool) -> None:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))

    while world.verdict is None:
        if answered:
            world.done(world.expect(ReadScope), Failed("get rollouts: HTTP 503"))
        world.wait(2)

    assert world.verdict == (Phase.ERROR, Reason.UNAVAILABLE)
    assert ("HTTP 503" in world.message) is answered


def test_a_reading_that_failed_once_is_not_what_the_canary_waits_for() -> None:
    """NotSteady was told of a canary that was Ready all the time, and why the ledger was first not read."""
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), Failed("get analysisruns: HTTP 503"))
    world.wait(1)
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))

    world.wait(31)

    assert world.verdict == (Phase.ERROR, Reason.UNAVAILABLE)
    assert "whose the canary's pods are could not be read" in world.message


def test_a_canary_that_is_not_ready_is_told_of_though_its_owners_cannot_be_read() -> None:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b", ready=False))
    world.done(world.expect(ReadScope), Failed("get rollouts: HTTP 503"))

    world.wait(31)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_STEADY)
    assert "1 of 2 canary pods Ready" in world.message


def test_a_replica_set_that_is_told_later_than_its_pods_is_read_again() -> None:
    """Nothing orders the two watches: the pod that was scaled away may be told first."""
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove(scope_inputs(replica_sets=[replica_set(3)]))

    world.wait(4)
    world.prove(scope_inputs(replica_sets=[replica_set(2)]))

    world.expect(WriteMark)


def test_a_proof_that_fails_late_is_tried_again() -> None:
    world = World(push=False)
    world.start()
    world.resume()
    world.wait(31)  # past the time for which the right to patch is waited for
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.done(world.expect(ReadScope), Failed("away"))

    world.wait(2)

    world.expect(ReadScope)
