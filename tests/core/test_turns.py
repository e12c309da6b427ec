"""Gates of several processes on one canary: who waits for whom, and how long at most."""

from datetime import timedelta

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Create,
    LedgerRead,
    ReadLedger,
    ReadScope,
    WriteClaim,
    WriteMark,
)
from chaosplugin.core.ledger import Hold, Identity, Mark, VerdictRecord
from chaosplugin.core.objects import AnalysisRun, AnalysisRunStatus, Metadata
from chaosplugin.core.policy import Policy
from chaosplugin.core.run import Stage
from chaosplugin.core.turns import CLAIM, SETTLE
from tests.core.given import HASH, START, analysis_run, pod
from tests.core.world import World, marked

CANARY = "rs-1"
OTHER = Identity("record-1", "gate", 1)
UNTIL = START + timedelta(seconds=90)


def other(*patches: dict[str, object], identity: Identity = OTHER, phase: str = "") -> AnalysisRun:
    """Return what another process has written on its AnalysisRun, or record."""
    annotations: dict[str, str] = {}
    for patch in patches:
        metadata = patch["metadata"]
        assert isinstance(metadata, dict)
        annotations |= metadata["annotations"]
    uid = identity.analysis_run_uid
    metadata = Metadata(name=uid, namespace="default", uid=uid, annotations=annotations)
    return AnalysisRun(metadata=metadata, status=AnalysisRunStatus(phase=phase))


def mark(canary: str = CANARY, identity: Identity = OTHER) -> dict[str, object]:
    made = Mark(
        kind="PodChaos", namespace="default", name="x", version="1", canary=canary, until=UNTIL.isoformat()
    )
    return ledger.mark_patch(identity, made, "1")


def claim(identity: Identity = OTHER) -> dict[str, object]:
    return ledger.claim_patch(identity, Hold(CANARY, START + CLAIM, claim=True))


def verdict(phase: Phase) -> dict[str, object]:
    record = VerdictRecord(
        phase=phase, message="Timeout: x", value="", finished_at=(START + timedelta(seconds=1)).isoformat()
    )
    return ledger.verdict_patch(OTHER, record, "1", "2")


def proved(*others: AnalysisRun, claims: bool = False) -> World:
    """Return a world in which a gate has proved its scope, and would go on."""
    world = World(policy=Policy(claims=claims))
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"))
    world.others(*others)
    world.prove()
    return world


def goes_on(world: World) -> bool:
    """Tell whether the gate has begun, or proves once more, since its canary is free."""
    return any(isinstance(command, WriteMark | ReadScope) for command in world.todo)


def test_a_gate_waits_for_the_mark_of_another_process_until_its_verdict() -> None:
    world = proved(other(mark()))
    assert world.stage is Stage.QUEUED

    world.others(other(mark(), verdict(Phase.SUCCESSFUL)))

    world.prove()
    assert world.expect(WriteMark).mark.canary == CANARY


def test_a_fault_that_a_verdict_has_cut_short_may_be_on_for_a_moment() -> None:
    world = proved(other(mark()))
    world.others(other(mark(), verdict(Phase.FAILED)))
    world.wait(10)
    assert not goes_on(world)

    world.wait(10)

    assert goes_on(world)


def test_a_mark_whose_owner_has_died_holds_no_longer_than_its_fault_can_last() -> None:
    world = proved(other(mark()))
    world.wait(89)
    assert not goes_on(world)

    world.wait(2)

    assert goes_on(world)


def test_what_has_ended_or_is_gone_or_is_of_another_canary_holds_nobody_up() -> None:
    for free in (
        other(mark(), phase="Failed"),
        other(mark("rs-2")),
        other({"metadata": {"annotations": {f"chaosplugin.io/mark.{OTHER.digest}": "{mangled"}}}),
    ):
        assert goes_on(proved(free))


def test_a_mark_of_an_analysis_that_this_process_does_not_know_yet_is_respected() -> None:
    """As after a restart, when the gate that waited is asked for before the one that runs."""
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.run_seen(other(mark()))
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()

    assert world.stage is Stage.QUEUED


def test_nothing_is_proved_before_the_others_are_known() -> None:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    world.pods(pod("web-a"), pod("web-b"), others=False)
    assert not goes_on(world)

    world.others()

    assert goes_on(world)


def test_a_gate_that_has_marked_is_waited_for_and_waits_for_nobody() -> None:
    world = proved()
    marking = world.expect(WriteMark)
    world.others(other(claim()))

    world.done(marking, AnalysisRunSeen(marked(world)))

    world.expect(Create)


def test_who_claims_lets_the_others_hear_of_it_before_it_marks() -> None:
    world = proved(claims=True)
    claiming = world.expect(WriteClaim)
    assert claiming.claim.canary == CANARY
    world.done(claiming, AnalysisRunSeen(analysis_run()))
    world.wait(SETTLE.total_seconds() - 0.1)
    assert not goes_on(world)

    world.wait(0.2)

    world.expect(WriteMark)


def test_a_claim_yields_to_a_mark_that_was_made_meanwhile() -> None:
    world = proved(claims=True)
    world.done(world.expect(WriteClaim), AnalysisRunSeen(analysis_run()))
    world.others(other(mark()))
    world.wait(3)
    assert world.stage is Stage.QUEUED

    world.others(other(mark(), verdict(Phase.SUCCESSFUL)))
    world.prove()

    world.expect(WriteClaim)  # the others may not know of the first any more


def test_an_analysis_waits_for_a_claim_until_it_runs_out() -> None:
    world = proved(other(claim()))
    assert world.stage is Stage.QUEUED
    world.wait(CLAIM.total_seconds() - 1)
    assert not goes_on(world)

    world.wait(2)

    assert goes_on(world)


def test_of_two_that_claim_at_the_same_time_one_goes_first() -> None:
    mine = World().spec.id
    others = [Identity(f"record-{number}", "gate", 1) for number in range(100)]
    lower = next(each for each in others if each.digest < mine)
    higher = next(each for each in others if each.digest > mine)
    for identity, first in ((higher, True), (lower, False)):
        world = proved(claims=True)
        world.done(world.expect(WriteClaim), AnalysisRunSeen(analysis_run()))
        world.others(other(claim(identity), identity=identity))
        world.wait(3)

        assert goes_on(world) is first
