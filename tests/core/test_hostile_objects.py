"""Whatever stands in the cluster's objects, no gate meets an error of ours by it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core import ledger
from chaosplugin.core.commands import (
    AnalysisRunSeen,
    Command,
    Confirm,
    Confirmed,
    Create,
    Delete,
    Done,
    Find,
    FindPods,
    Found,
    HistoryRead,
    Keep,
    LedgerRead,
    Look,
    Outcome,
    PodsFound,
    ReadHistory,
    ReadLedger,
    ReadReplicas,
    ReadScope,
    Recalled,
    Release,
    ReplicasRead,
    ScopeRead,
    Stop,
    VerdictWritten,
    WriteClaim,
    WriteMark,
    WriteVerdict,
    WriteWake,
)
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import (
    AnalysisRun,
    ChaosObject,
    Event,
    InvolvedObject,
    Metadata,
    OwnerReference,
    Pod,
    ReplicaSet,
    Rollout,
)
from chaosplugin.core.scope import ScopeInputs
from chaosplugin.core.topics import Applied, Deleted, Lost, Synced, WatchEvent
from tests.core.given import HASH, HASH_LABEL, analysis_run, scope_inputs
from tests.core.spawning import FAIL, KILL, SELF, Spawning
from tests.core.world import World

IDENTITY = World().spec.identity
TIMES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC),
    datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC),
]
STATED = [
    *("", "x", "true", "True", "Run", "Stop", "Injected", "Not Injected", "Succeeded", "Failed", "Running"),
    *("Apply", "Recover", "Ready", "Accomplished", ".", "default/web-a", "default/web-a/app", "/", "web-a"),
    *("web-b", HASH, "stable", "rs-1", "run-1", "rollout-1", "chaos", "1", "PodChaos", "Schedule"),
    *("5s", "999999999h", "-1s", "2026-01-01T12:00:05Z", "9999-12-31T23:59:59Z", "\u202e", "a" * 70_000),
    *("{", "[" * 5_000, "null", "[]", '{"ready":1e400}', '{"ready":-1,"restarts":{"web-a":9e99}}'),
    json.dumps({"phase": "Successful", "finishedAt": "9999-12-31T23:59:59Z", "message": 1}),
    json.dumps({"canary": "rs-1", "until": "9999-12-31T23:59:59Z", "version": "x", "kind": "PodChaos"}),
    json.dumps({"ready": 2, "restarts": {"web-a": 10**30}}),
]
KEYS = [
    *(
        ledger.PAUSE,
        ledger.ABORT,
        ledger.WINDOW,
        ledger.WINDOW_OVER,
        ledger.METRIC,
        ledger.INTENT,
        ledger.RUN,
    ),
    *(ledger.BASELINE, ledger.REPLICA_SET, ledger.CANARY, ledger.TRACEPARENT, ledger.TRACE_TIMES),
    *(f"chaosplugin.io/{kind}.{IDENTITY.digest}" for kind in ("mark", "claim", "verdict")),
    *("chaosplugin.io/mark.x", "chaosplugin.io/verdict.x", "chaos-mesh.org/id", HASH_LABEL),
    *("chaos-mesh.org/controlled-by", "chaos-mesh.org/workflow", ledger.KEEP, ledger.MANAGED_BY),
]
TEXTS = st.sampled_from(STATED) | st.text(max_size=5)
ANNOTATIONS = st.fixed_dictionaries(
    {}, optional={key: st.sampled_from([text for text in STATED if "{" in text]) | TEXTS for key in KEYS}
)
NUMBERS = st.sampled_from([0, 1, 2, -1, 2**63 - 1, -(2**63)])
SPECS = st.sampled_from(
    [
        {},
        {"action": "pod-failure"},
        {"schedule": "@every 10s", "type": "PodChaos", "podChaos": KILL},
        {"schedule": "@every 999999999h", "type": "PodChaos", "podChaos": FAIL},
        {"schedule": "0 0 30 2 *", "type": "PodChaos", "podChaos": KILL},
        {"entry": "a", "templates": [{"name": "a", "templateType": "Serial", "children": ["a"]}]},
        {"templates": 5},
        {"templateName": ["x"]},
    ]
)


_PLAIN: dict[object, st.SearchStrategy[Any]] = {
    str: TEXTS,
    bool: st.booleans(),
    int: NUMBERS,
    datetime: st.sampled_from(TIMES),
    NoneType: st.none(),
    dict[str, object]: SPECS,
    msgspec.Raw: SPECS.map(msgspec.json.encode).map(msgspec.Raw),
    dict[str, str]: ANNOTATIONS,
}


def values(of: Any) -> st.SearchStrategy[Any]:
    """Values of a type that the API server would let pass, as odd as it would."""
    origin, args = get_origin(of), get_args(of)
    if of in _PLAIN:
        return _PLAIN[of]
    if origin in {Union, UnionType}:
        return st.one_of(*map(values, args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is list:
        return st.lists(values(args[0]), max_size=2)
    return metadata(TEXTS, {}) if of is Metadata else objects(of)


def objects(of: type[Any], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(of)
    names = [field.name for field in msgspec.structs.fields(of)]
    fields = {name: fixed[name] if name in fixed else values(hints[name]) for name in names}
    return st.builds(of, **fields)


def metadata(
    uid: st.SearchStrategy[str], labels: Mapping[str, str], *owners: str
) -> st.SearchStrategy[Metadata]:
    """Metadata of what the gate takes for its own."""
    held = [OwnerReference(kind="x", name="web", uid=each, controller=True) for each in owners]
    known = st.just(held or None) | values(list[OwnerReference] | None)
    stamps = st.sampled_from(TIMES[2:])  # the API server's own
    return objects(
        Metadata,
        uid=uid,
        creation_timestamp=stamps,
        deletion_timestamp=st.none() | stamps,
        labels=st.builds(lambda odd: {**odd, **labels}, ANNOTATIONS),
        owner_references=known,
    )


OURS = {
    ledger.MANAGED_BY: ledger.MANAGER,
    ledger.RUN: IDENTITY.digest,
    ledger.ANALYSIS_RUN_UID: IDENTITY.analysis_run_uid,
}
PODS = objects(Pod, metadata=metadata(st.sampled_from(["a", "b"]), {HASH_LABEL: HASH}, "rs-1"))
RUNS = objects(AnalysisRun, metadata=metadata(st.sampled_from(["run-1", "other"]), {}, "rollout-1"))
CHAOS = objects(ChaosObject, metadata=metadata(st.sampled_from(["chaos-1", SELF, "x"]), OURS, SELF))
EVENTS = objects(Event, involved_object=objects(InvolvedObject, uid=st.sampled_from(["chaos-1", SELF, "x"])))
SCOPES = st.builds(
    ScopeInputs,
    analysis_run=RUNS,
    label=st.just(HASH_LABEL),
    value=st.just(HASH),
    policy=st.just(World().spec.policy),
    rollout=objects(Rollout) | st.none(),
    replica_sets=st.lists(
        objects(ReplicaSet, metadata=metadata(st.just("rs-1"), {}, "rollout-1")), max_size=2
    ),
    stable=objects(ReplicaSet) | st.none(),
)


def told(watch: Watch) -> st.SearchStrategy[WatchEvent]:
    topic = watch.topic
    kinds = {"PodsTopic": PODS, "EventsTopic": EVENTS, "ChaosTopic": CHAOS, "ChildrenTopic": CHAOS}
    things = kinds.get(type(topic).__name__, RUNS)
    return st.one_of(
        st.builds(Applied, st.just(topic), things),
        st.builds(Deleted, st.just(topic), things),
        st.just(Synced(topic)),
        st.just(Lost(topic, "cut")),
    )


def outcome(command: Command) -> st.SearchStrategy[Outcome]:  # noqa: PLR0911, C901 - one flat match
    match command:
        case ReadLedger():
            run, chaos = RUNS | st.just(analysis_run()), st.none() | CHAOS
            return st.builds(LedgerRead, analysis_run=run, experiment=chaos, value=st.just(HASH))
        case ReadScope():
            return st.builds(ScopeRead, SCOPES | st.just(scope_inputs()))
        case ReadReplicas():
            return st.builds(ReplicasRead, NUMBERS)
        case Confirm():
            recalled = st.builds(Recalled, st.lists(CHAOS, max_size=2), st.lists(EVENTS, max_size=2))
            return st.builds(
                Confirmed, st.lists(PODS, max_size=2), st.lists(CHAOS, max_size=2), recalled | st.none()
            )
        case Create() | Find() | Stop():
            return st.builds(Found, CHAOS)
        case FindPods(names=names):
            return st.builds(lambda pod: PodsFound(dict.fromkeys(names, pod)), PODS | st.none())
        case ReadHistory():
            return st.builds(HistoryRead, st.booleans() | st.none())
        case WriteClaim() | WriteMark() | WriteWake() | Look():
            return st.builds(AnalysisRunSeen, RUNS | st.none() | st.just(analysis_run()))
        case WriteVerdict(record=record):
            return st.builds(VerdictWritten, st.just(record), RUNS)
        case Delete() | Keep() | Release():
            return st.just(Done()) | st.just(Found(None))
        case _:
            raise AssertionError(command)


def world_of(sort: str) -> World:
    if sort == "schedule":
        return Spawning("Schedule", {"schedule": "@every 10s", "type": "PodChaos", "podChaos": KILL})
    return World(push=sort == "push")


@given(st.data())
def test_no_object_meets_an_error_of_ours(data: st.DataObject) -> None:
    world = world_of(data.draw(st.sampled_from(["push", "poll", "schedule"])))
    registry, watches = world.registry, set[Watch]()
    world.start(resume=data.draw(st.booleans()))
    world.resume()
    for _ in range(data.draw(st.integers(1, 25))):
        for watch, wanted in registry.watch_changes().items():
            (watches.add if wanted else watches.discard)(watch)
        what = data.draw(st.sampled_from(["outcome", "event", "tick"]))
        if what == "outcome" and world.todo:
            command = world.todo.pop(0)
            world.done(command, data.draw(outcome(command)))
        elif what == "event" and watches:
            watch = data.draw(st.sampled_from(sorted(watches, key=repr)))
            world.take(registry.observe(world.now, watch, data.draw(told(watch))))
        else:
            world.now += timedelta(seconds=data.draw(st.sampled_from([0.1, 2.0, 30.0])))
            world.take(registry.tick(world.now))
        for defect in registry.defects:
            raise defect.error
