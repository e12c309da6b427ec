"""Each reason's message says what was met, what was wanted and what to do, and begins with the reason."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from chaosplugin.core import ledger
from chaosplugin.core.analysis import Metric, Phase
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Find,
    Found,
    HistoryRead,
    LedgerRead,
    NameExists,
    ReadHistory,
    ReadLedger,
    ReadReplicas,
    Refused,
    ReplicasRead,
    WriteMark,
)
from chaosplugin.core.objects import AnalysisRun, AnalysisRunSpec, ChaosObject, Metadata
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, PolicyRefused
from chaosplugin.core.verdict import Finding, Reason
from tests.core.given import HASH, START, analysis_run, hit, pod, rollout, scope_inputs
from tests.core.world import World, marked

Way = Callable[[], World]


def _survived(metric: Metric | None = None) -> World:
    world = World(metric=metric or Metric(name="chaos"))
    world.to_recovering()
    world.now += timedelta(seconds=3)
    world.pods(pod("web-a", restarts=2, since=world.now))
    world.wait(6)
    return world


def _injected() -> World:
    world = World()
    world.to_observing()
    world.experiment(hit("web-a"), desired="Run")
    return world


def _internal_error() -> World:
    world = World(manifest=lambda value, notes: {"figure": 1 / len([])})
    world.start()
    world.resume()
    ledger_read = LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH)
    world.done(world.expect(ReadLedger), ledger_read)
    world.pods(pod("web-a"), pod("web-b"))
    world.prove()
    world.done(world.expect(WriteMark), AnalysisRunSeen(marked(world)))
    return world


def _broken() -> World:
    world = _injected()
    world.pods(pod("web-b", ready=False))
    world.done(world.expect(ReadReplicas), ReplicasRead(2))
    world.confirm()
    return world


def _not_recovered() -> World:
    world = World()
    world.to_observing()
    world.to_timeout(hit("web-a"), desired="Stop")
    return world


def _timeout() -> World:
    world = World()
    world.to_observing()
    world.to_timeout(hit("web-a"), desired="Run")
    return world


def _violated() -> World:
    world = World()
    world.to_observing()
    world.pods(pod("stable-x", owner="rs-stable"))
    world.experiment(hit("stable-x"), desired="Run")
    return world


def _read() -> World:
    world = World()
    world.start()
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=analysis_run(), experiment=None, value=HASH))
    return world


def _not_steady() -> World:
    world = _read()
    world.pods(pod("web-a"), pod("web-b", ready=False))
    world.prove()
    world.wait(31)
    return world


def _no_targets() -> World:
    world = _read()
    world.pods()
    world.wait(31)
    return world


def _not_injected() -> World:
    world = World()
    world.to_observing()
    world.wait(31)
    world.done(world.expect(Find), Found(world.chaos(desired="")))
    return world


def _paused() -> World:
    world = _injected()
    world.experiment(hit("web-a"), desired="Run", annotations={ledger.PAUSE: "true"})
    return world


def _deleted() -> World:
    world = _injected()
    world.experiment(hit("web-a"), desired="Run", deleting=True, gone=True)
    return world


def _terminated() -> World:
    world = _injected()
    world.run_seen(phase="Failed")
    return world


def _unobserved() -> World:
    world = _injected()
    world.chaos_lost("connection refused")
    world.wait(125)
    return world


def _unknown() -> World:
    world = World()
    world.start(resume=True)
    world.resume()
    world.done(world.expect(ReadLedger), LedgerRead(analysis_run=marked(world), experiment=None, value=HASH))
    world.done(world.expect(ReadHistory), HistoryRead(created=None))
    return world


def _refused(reason: Reason, text: str) -> World:
    world = World()
    world.done(world.to_create(), Refused(Finding(reason=reason, text=text)))
    return world


def _scope_refused() -> World:
    world = _read()
    world.pods(pod("web-a", ready=False))
    world.prove(scope_inputs(rollout=rollout(current="new", stable=HASH)))
    return world


def _policy_refused() -> World:
    with pytest.raises(PolicyRefused) as refusal:
        Policy().check_endpoint("far", 6443)
    return _refused(Reason.POLICY_REFUSED, str(refusal.value))


def _name_taken() -> World:
    world = World()
    world.done(world.to_create(), NameExists())
    foreign = ChaosObject(kind="PodChaos", metadata=Metadata(name=world.spec.name, uid="x"))
    world.done(world.expect(Find), Found(foreign))
    return world


def _condition() -> World:
    return _survived(metric=Metric(name="chaos", success_condition="result.recoverySeconds < 1"))


WAYS: dict[Reason, tuple[Way, Phase, tuple[str, ...]]] = {
    Reason.SURVIVED: (_survived, Phase.SUCCESSFUL, ("1 target hit", "2 pods Ready 3s after", "they held")),
    Reason.STEADY_STATE_BROKEN: (
        _broken,
        Phase.FAILED,
        ("0 pods Ready beside the pods hit", "1 wanted", "2 were Ready before", "see the canary's pods"),
    ),
    Reason.NOT_RECOVERED: (
        _not_recovered,
        Phase.FAILED,
        ("1 of 1 targets", "have not recovered within 60s", "see Chaos Mesh's logs"),
    ),
    Reason.TIMEOUT: (_timeout, Phase.FAILED, ("still on after 60s", "raise timeout or shorten the duration")),
    Reason.SCOPE_VIOLATION: (
        _violated,
        Phase.FAILED,
        ("hit stable-x", f"not of ReplicaSet web-{HASH}", "see who gives pods its label"),
    ),
    Reason.CONDITION_NOT_MET: (
        _condition,
        Phase.FAILED,
        ("successCondition 'result.recoverySeconds < 1' does not hold", "Ready 3s after the fault"),
    ),
    Reason.NOT_STEADY: (
        _not_steady,
        Phase.INCONCLUSIVE,
        ("1 of 2 canary pods Ready after 30s", "all are wanted", "raise targetTimeout"),
    ),
    Reason.NO_TARGETS: (
        _no_targets,
        Phase.INCONCLUSIVE,
        ("no targets in namespace default after 30s", f"={HASH}", "check targetReplicaSetLabel"),
    ),
    Reason.NOT_INJECTED: (
        _not_injected,
        Phase.INCONCLUSIVE,
        ("has not touched PodChaos default/", "for 30s", "is its controller-manager running"),
    ),
    Reason.PAUSED: (_paused, Phase.INCONCLUSIVE, ("was paused by somebody", "run the gate again")),
    Reason.DELETED: (_deleted, Phase.INCONCLUSIVE, ("was deleted by somebody", "run the gate again")),
    Reason.TERMINATED: (_terminated, Phase.INCONCLUSIVE, ("ended early", "its AnalysisRun has ended")),
    Reason.UNOBSERVED: (
        _unobserved,
        Phase.INCONCLUSIVE,
        ("could not be watched at its timeout of 60s", "connection refused", "run the gate again"),
    ),
    Reason.UNKNOWN: (
        _unknown,
        Phase.INCONCLUSIVE,
        ("was about to be created", "is not known any more", "run the gate again"),
    ),
    Reason.INTERNAL_ERROR: (
        _internal_error,
        Phase.INCONCLUSIVE,
        ("an error of chaosplugin itself", "ZeroDivisionError", "report it"),
    ),
    Reason.INVALID_CONFIG: (
        lambda: _refused(Reason.INVALID_CONFIG, str(InvalidConfig("timeOut", "5m", "a known key", "see"))),
        Phase.ERROR,
        ("timeOut: met 5m", "wanted a known key", "see"),
    ),
    Reason.SCOPE_REFUSED: (_scope_refused, Phase.ERROR, (HASH, "stable", "--allow-stable")),
    Reason.POLICY_REFUSED: (
        _policy_refused,
        Phase.ERROR,
        ("far:6443 is not allowed", "--allow-endpoint"),
    ),
    Reason.DENIED: (lambda: _refused(Reason.DENIED, "cannot create"), Phase.ERROR, ("cannot create",)),
    Reason.NAME_TAKEN: (
        _name_taken,
        Phase.ERROR,
        ("exists and is not this gate's", "remove it, or rename the template's"),
    ),
    Reason.UNAVAILABLE: (lambda: _refused(Reason.UNAVAILABLE, "no answer"), Phase.ERROR, ("no answer",)),
}


@pytest.mark.parametrize("reason", Reason)
def test_the_message_says_what_was_met_what_was_wanted_and_what_to_do(reason: Reason) -> None:
    way, phase, words = WAYS[reason]

    world = way()

    assert world.verdict == (phase, reason)
    assert world.message.startswith(f"{reason}: ")
    assert len(world.message.encode()) <= 1024
    for each in words:
        assert each in world.message


_STOPPED = replace(analysis_run(), spec=AnalysisRunSpec(terminate=True))
_GONE = replace(analysis_run(), metadata=replace(analysis_run().metadata, deletion_timestamp=START))


@pytest.mark.parametrize(
    ("alone", "ending", "words"),
    [
        (False, _STOPPED, "its AnalysisRun is being terminated"),
        (True, _STOPPED, "it was stopped"),
        (True, _GONE, "its ConfigMap was deleted"),
    ],
)
def test_a_gate_that_was_ended_names_what_there_is_of_it(
    *, alone: bool, ending: AnalysisRun, words: str
) -> None:
    world = World(policy=Policy(claims=alone))
    world.start()
    world.resume()
    world.found()

    world.run_seen(ending)

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.TERMINATED)
    assert world.message == f"Terminated: the gate ended early: {words}"
