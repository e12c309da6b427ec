"""Schedules and Workflows as templates: every fault that they hold is confined, bounded and able to end."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.core import config, experiment
from chaosplugin.core.config import HASH_LABEL, Config
from chaosplugin.core.kinds import KINDS
from chaosplugin.core.ledger import WINDOW, Identity
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Metadata
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, PolicyRefused, Refusal, ScopeRefused

_RUN = AnalysisRun(metadata=Metadata(name="web-1-2", namespace="shop", uid="uid-of-run"))
_CANARY = "698d4b6c6f"
_CLAUSE = {"key": HASH_LABEL, "operator": "In", "values": [_CANARY]}
_KILL = {"action": "pod-kill", "mode": "one"}
_FAIL = {"action": "pod-failure", "mode": "all"}
_STRESS = {"mode": "all", "stressors": {"cpu": {"workers": 1}}}
_ACTIONS = {"podChaos": {"action": "pod-kill"}, "networkChaos": {"action": "delay"}}


def _object(kind: str, spec: object) -> dict[str, object]:
    return {"apiVersion": "chaos-mesh.org/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def _schedule(when: str = "@every 30s", kind: str = "PodChaos", **spec: object) -> dict[str, object]:
    return _object("Schedule", {"schedule": when, "type": kind, "podChaos": _KILL, **spec})


def _workflow(*templates: dict[str, object], entry: str = "a") -> dict[str, object]:
    return _object("Workflow", {"entry": entry, "templates": list(templates)})


def _step(name: str, type_: str = "PodChaos", **more: object) -> dict[str, object]:
    chaos = {"podChaos": _KILL, "deadline": "10s"} if type_ == "PodChaos" else {}
    return {"name": name, "templateType": type_, **chaos, **more}


def _config(given_: object, policy: Policy | None = None, /, **settings: object) -> Config:
    return config.parse(
        {"chaos": json.dumps({"chaosExperimentCRD": given_, **settings}).encode()},
        labels={HASH_LABEL: _CANARY},
        namespace="shop",
        policy=policy or Policy(),
        load_yaml=lambda text: text,
    )


def _build(given_: object, policy: Policy | None = None, /, **settings: object) -> dict[str, object]:
    policy = policy or Policy()
    found = _config(given_, policy, **settings)
    identity = Identity("uid-of-run", "chaos", 1)
    return experiment.build(found, value=_CANARY, run=_RUN, identity=identity, policy=policy)


def _spec(given_: object, **settings: object) -> dict[str, object]:
    spec = _build(given_, **settings)["spec"]
    assert isinstance(spec, dict)
    return spec


def _selectors(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        if isinstance(value.get("selector"), dict):
            yield value["selector"]
        for inner in value.values():
            yield from _selectors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _selectors(inner)


# -- Schedules


def test_a_schedule_is_confined_and_keeps_what_it_has_fired() -> None:
    built = _build(_schedule(historyLimit=3), timeout="10m")

    assert built["spec"] == {
        "schedule": "@every 30s",
        "type": "PodChaos",
        "concurrencyPolicy": "Forbid",
        "historyLimit": 100,
        "podChaos": {
            **_KILL,
            "selector": {
                "namespaces": ["shop"],
                "expressionSelectors": [_CLAUSE],
                "podPhaseSelectors": ["Running"],
            },
        },
    }
    metadata = built["metadata"]
    assert isinstance(metadata, dict)
    assert metadata["annotations"][WINDOW] == "9m30s"


def test_a_fault_that_lasts_gets_half_the_period() -> None:
    assert _spec(_schedule(podChaos=_FAIL))["podChaos"]["duration"] == "15s"  # type: ignore[index]
    assert _spec(_schedule("@hourly", podChaos=_FAIL))["podChaos"]["duration"] == "1m"  # type: ignore[index]


def test_the_scheduler_of_chaos_mesh_1_becomes_a_schedule() -> None:
    """The original's own main example."""
    old = {**_KILL, "selector": {"namespaces": ["shop"]}, "duration": "2m"}
    built = _build(_object("PodChaos", {**old, "scheduler": {"cron": "@every 30s"}}), timeout="10m")
    spec, metadata = built["spec"], built["metadata"]

    assert built["kind"] == "Schedule"
    assert isinstance(spec, dict)
    assert (spec["schedule"], spec["type"]) == ("@every 30s", "PodChaos")
    assert spec["podChaos"]["selector"]["expressionSelectors"] == [_CLAUSE]
    assert isinstance(metadata, dict)
    assert metadata["annotations"][WINDOW] == "2m", "the duration of what is over at once is the window"


def test_a_lasting_fault_of_chaos_mesh_1_keeps_its_duration() -> None:
    given_ = _object("PodChaos", {**_FAIL, "duration": "7s", "scheduler": {"cron": "@every 30s"}})

    assert _spec(given_, scheduleFor="2m")["podChaos"]["duration"] == "7s"  # type: ignore[index]


@pytest.mark.parametrize(
    ("given_", "settings", "said"),
    [
        (_schedule("@every 5m"), {}, "it first fires 5m after its creation"),
        (_schedule("@every 1s"), {}, "at most 100 times; shorten it"),
        (_schedule(), {"scheduleFor": "20s"}, "it first fires 30s after its creation"),
        (
            _schedule(),
            {"scheduleFor": "4m51s"},
            'met "4m51s", wanted a Go duration such as 2m, from 1s to 4m50s',
        ),
        (_schedule("soon"), {}, 'chaosExperimentCRD.spec.schedule: met "soon", wanted when to fire'),
        (_schedule(kind="PodChoas"), {}, "spec.type: met"),
        (_schedule(kind="Schedule"), {}, "spec.type: met"),
        (_schedule(kind="StressChaos"), {}, "spec.podChaos: met a spec, wanted only stressChaos"),
        (_schedule(podChaos=None), {}, "spec.podChaos: met nothing"),
        (_schedule(stressChaos=_STRESS), {}, "spec.stressChaos: met a spec, wanted only podChaos"),
        (_schedule(podChaos={**_KILL, "mode": "some"}), {}, "spec.podChaos.mode: met"),
        (_schedule(podChaos={**_FAIL, "duration": "1h"}), {}, "spec.podChaos.duration: met"),
        (
            _object("PodChaos", {**_KILL, "duration": "1m", "scheduler": {"cron": "@every 30s"}}),
            {"scheduleFor": "2m"},
            'spec.duration: met "1m" beside scheduleFor, wanted one of them',
        ),
        (
            _object("PodChaos", {**_KILL, "duration": "20s", "scheduler": {"cron": "@every 30s"}}),
            {},
            'spec.duration: met "20s", wanted a time in which the Schedule fires at least once',
        ),
        (
            _object("PodChaos", {**_KILL, "duration": "5m", "scheduler": {"cron": "@every 30s"}}),
            {},
            "set timeout to at least 5m10s",
        ),
    ],
)
def test_a_schedule_that_would_test_nothing_is_refused(
    given_: object, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        _build(given_, **settings)

    assert said in str(refused.value)


def test_a_schedule_by_the_clock_is_checked_when_it_is_created() -> None:
    window = _config(_schedule("0 12 * * *"), timeout="10m").window
    assert window

    window.check(datetime(2026, 3, 1, 11, 55, tzinfo=UTC))
    with pytest.raises(InvalidConfig, match="it first fires 23h after its creation"):
        window.check(datetime(2026, 3, 1, 13, tzinfo=UTC))


def test_a_schedule_of_workflows_cannot_be_paused() -> None:
    with pytest.raises(PolicyRefused, match="Chaos Mesh cannot pause it"):
        _build(_object("Schedule", {"schedule": "@every 30s", "type": "Workflow", "workflow": {}}))


# -- Workflows


def test_a_workflow_takes_what_its_templates_take() -> None:
    found = _config(
        _workflow(
            _step("a", "Serial", children=["b", "c", "b"]),
            _step("b", deadline="10s"),
            _step("c", "Parallel", children=["d", "e"], deadline="40s"),
            _step("d", "Suspend", deadline="1m"),
            _step("e", deadline="20s"),
            _step("unused"),
            _step("rest", "Suspend", deadline="1s"),
        )
    ).template

    assert found.length == timedelta(seconds=60)
    assert found.steps == {"b": 2, "e": 1}
    assert {part.step for part in found.parts} == {"b", "e", "unused"}


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (_object("Workflow", {"entry": "a"}), "spec.templates: met nothing"),
        (_workflow(_step("a"), entry="b"), 'spec.entry: met "b", wanted a template\'s name'),
        (_workflow(_step("a", "Suspend", deadline="5s")), "a template that leads to a fault"),
        (_workflow(_step("a"), _step("a")), "templates[1].name: met"),
        (_workflow(_step("a", deadline=None)), "without one a PodChaos may never end"),
        (_workflow(_step("a", "Suspend")), "templates[0].deadline: met nothing"),
        (
            _workflow(_step("a", deadline="1s")),
            'templates[0].deadline: met "1s", wanted a Go duration of at least 2s',
        ),
        (_workflow(_step("a", deadline="5m")), "spec.templates: met up to 5m, wanted at most 4m50s"),
        (_workflow(_step("a", "PodChoas", deadline="5s")), "templates[0].templateType: met"),
        (
            _workflow(_step("a", podChaos={**_FAIL, "duration": "5s"})),
            "the template's deadline says how long",
        ),
        (_workflow(_step("a", "Serial", children=["b"])), 'the child "b", wanted the name of a template'),
        (_workflow(_step("a", "Serial", children=["a"])), '"a" within itself, wanted no circle'),
        (_workflow(_step("a", "Serial", children=["b"] * 101), _step("b")), "which runs 102 templates"),
        (_workflow(_step("a", "Serial", children=["b"], podChaos=_KILL), _step("b")), "none in a template"),
        (_workflow(_step("a", stressChaos=_STRESS)), "wanted only podChaos"),
        (
            _workflow(_step("a", "Schedule", deadline="20s", schedule=_schedule()["spec"])),
            "a time in which its Schedule fires at least once",
        ),
    ],
)
def test_a_workflow_that_would_not_end_or_test_nothing_is_refused(given_: object, said: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        _build(given_)

    assert said in str(refused.value)


def test_many_templates_that_hold_each_other_are_counted_not_walked() -> None:
    steps = [_step(f"t{n}", "Parallel", children=[f"t{n + 1}"] * 2) for n in range(60)]

    with pytest.raises(InvalidConfig, match="which runs 127 templates"):
        _build(_workflow(*steps, _step("t60"), entry="t0"))


@pytest.mark.parametrize(
    ("type_", "flag", "policy"),
    [
        ("Task", "--allow-workflow-task", Policy(allow_workflow_task=True)),
        ("StatusCheck", "--allow-status-check", Policy(allow_status_check=True)),
    ],
)
def test_what_acts_outside_of_the_canary_is_for_the_operator_to_open(
    type_: str, flag: str, policy: Policy
) -> None:
    opened = _step("c", type_, abortWithStatusCheck=True, deadline="31s", statusCheck={})
    given_ = _workflow(_step("a", "Serial", children=["b", "c"]), _step("b"), opened)
    with pytest.raises(PolicyRefused, match=flag):
        _build(given_)

    assert _build(given_, policy)


@pytest.mark.parametrize("type_", ["Task", "StatusCheck", "Suspend"])
def test_what_may_never_end_is_refused(type_: str) -> None:
    endless = _step("c", type_, abortWithStatusCheck=True)
    given_ = _workflow(_step("a", "Serial", children=["b", "c"]), _step("b"), endless)

    with pytest.raises(InvalidConfig, match=f"without one a {type_} may never end"):
        _build(given_, _OPENED)


_OPENED = Policy(allow_workflow_task=True, allow_status_check=True)


def _branching(*targets: object) -> dict[str, object]:
    """A fault, and a Task that decides what comes then."""
    branches = [{"target": target, "expression": "exitCode == 0"} for target in targets]
    task = _step("c", "Task", deadline="100s", conditionalBranches=branches)
    return _workflow(_step("a", "Serial", children=["b", "c"]), _step("b"), task, _step("d"))


def test_what_a_task_may_lead_to_takes_its_time_and_need_not_be_hit() -> None:
    found = _config(_branching("d"), _OPENED).template

    assert found.length == timedelta(seconds=10 + 100 + 10)
    assert found.steps == {"b": 1}
    assert {part.step for part in found.parts} == {"b", "d"}, "all are confined"


@pytest.mark.parametrize(
    ("target", "said"), [("a", "within itself"), ("x", "the child"), (7, "target: met 7")]
)
def test_a_task_that_leads_in_a_circle_or_nowhere_is_refused(target: object, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        _config(_branching(target), _OPENED)


def test_a_check_that_tells_nobody_is_refused() -> None:
    given_ = _workflow(_step("a", "Serial", children=["b", "c"]), _step("b"), _step("c", "StatusCheck"))

    with pytest.raises(InvalidConfig, match="Chaos Mesh tells nobody of a check that fails without it"):
        _build(given_, Policy(allow_status_check=True))


# -- the blast radius


@st.composite
def _nested(draw: st.DrawFn) -> dict[str, object]:
    """Draw a Schedule, or a Workflow with chaos and Schedules of any kind."""

    def chaos(lasting: bool) -> tuple[str, str, dict[str, object]]:
        kind = draw(st.sampled_from([k for k in KINDS.values() if not k.spawns and k.name != "BlockChaos"]))
        selector = draw(st.sampled_from([{}, {"labelSelectors": {"app": "web"}}, {"namespaces": ["shop"]}]))
        spec = {"mode": "all", "selector": selector, **_ACTIONS.get(kind.key, {})}
        return kind.name, kind.key, {**spec, **({"duration": "5s"} if lasting else {})}

    def schedule() -> dict[str, object]:
        name, key, spec = chaos(lasting=True)
        return {"schedule": "@every 20s", "type": name, key: spec}

    if draw(st.booleans()):
        return _object("Schedule", schedule())
    steps: list[dict[str, object]] = []
    for index in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            steps.append(_step(f"s{index}", "Schedule", deadline="30s", schedule=schedule()))
            continue
        name, key, spec = chaos(lasting=False)
        steps.append({"name": f"s{index}", "templateType": name, "deadline": "10s", key: spec})
    return _workflow(_step("a", "Serial", children=[str(step["name"]) for step in steps]), *steps)


@given(_nested())
def test_every_selector_within_is_the_canarys(given_: dict[str, object]) -> None:
    selectors = list(_selectors(_spec(given_)))

    assert selectors
    assert all(selector["namespaces"] == ["shop"] for selector in selectors)
    assert all(_CLAUSE in selector["expressionSelectors"] for selector in selectors)  # type: ignore[operator]


@given(_nested(), st.data())
def test_no_selector_within_may_name_pods(given_: dict[str, object], data: st.DataObject) -> None:
    selector = data.draw(st.sampled_from(list(_selectors(given_))))
    selector["pods"] = {"shop": ["web-0"]}

    with pytest.raises(ScopeRefused, match="bypasses every other criterion"):
        _build(json.loads(json.dumps(given_)))


def test_a_refusal_names_the_place_of_the_selector() -> None:
    far = {**_KILL, "selector": {"labelSelectors": {HASH_LABEL: "stable"}}}
    given_ = _workflow(_step("a", "Serial", children=["b"]), _step("b", podChaos=far))

    with pytest.raises(Refusal, match=r"spec\.templates\[1\]\.podChaos\.selector\.labelSelectors wants"):
        _build(given_)


def test_the_namespaces_of_all_faults_count() -> None:
    far = {**_KILL, "selector": {"namespaces": ["kube-system"]}}

    with pytest.raises(ScopeRefused, match="names namespace kube-system, the canary is in shop"):
        _build(_workflow(_step("a", "Serial", children=["b", "c"]), _step("b"), _step("c", podChaos=far)))


def test_a_created_one_is_found_again_with_its_window() -> None:
    built = _build(_schedule(), timeout="2m")
    spec, metadata = built["spec"], built["metadata"]
    assert isinstance(spec, dict)
    assert isinstance(metadata, dict)
    found = ChaosObject(
        kind="Schedule",
        metadata=Metadata(annotations=metadata["annotations"]),
        raw_spec=msgspec.Raw(msgspec.json.encode(spec)),
    )
    read = experiment.adopt(found)
    assert read
    window = experiment.window(found, read)

    assert (read.parts[0].effect.one_shot, read.one_shot) == (True, True)
    assert window == _config(_schedule(), timeout="2m").window
