"""Schedules and Workflows: which faults they hold, and how long they take.

What Chaos Mesh's webhooks check better is left to them, unless a mistake would make them panic (a type
without its spec) or would make a gate that never ends, tests nothing, or hides a failure.
Source: chaos-mesh api/v1alpha1 schedule_types.go, workflow_types.go and their webhooks.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from chaosplugin.core import checks, cron, kinds, part
from chaosplugin.core.checks import Check
from chaosplugin.core.cron import BadCron, Cron
from chaosplugin.core.duration import text as spell
from chaosplugin.core.forms import mapping, met, text, texts
from chaosplugin.core.kinds import KINDS, WORKFLOW
from chaosplugin.core.part import Part, Path, key_of
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig, PolicyRefused, nearest, quote

MAX_FIRINGS = 100
"""How often a Schedule may fire within its window: each firing leaves an experiment, the evidence."""
MAX_NODES = 100

_SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - only differences are taken
_KEYS = {kind.key: kind.name for kind in KINDS.values() if not kind.spawns}
_STEPS = ("Serial", "Parallel")
_BARE = (*_STEPS, "Suspend", "Schedule", "Task", "StatusCheck")


def period(when: Cron) -> timedelta:
    """Return the usual time between two firings."""
    first = when.after(_SOME_DAY)
    second = when.after(first) if first else None
    return second - first if first and second else timedelta(days=366)


def read_cron(key: str, given: object) -> Cron:
    """Read `schedule`.

    Raises:
        InvalidConfig: not a text that Chaos Mesh takes.
    """
    wanted = "when to fire: @every 30s, or five fields of cron"
    if not isinstance(given, str):
        raise InvalidConfig(key, met(given), wanted)
    try:
        return cron.parse(given.strip())
    except BadCron as error:
        raise InvalidConfig(key, quote(given), wanted, str(error)) from None


def read_schedule(root: str, spec: Mapping[str, object], where: Path = (), step: str = "") -> Part:
    """Read the one fault that a Schedule repeats.

    Raises:
        InvalidConfig, ScopeRefused, PolicyRefused: what is wrong.
    """
    key = key_of(root, where)
    when = read_cron(f"{key}.schedule", spec.get("schedule"))
    if spec.get("type") == WORKFLOW:
        raise PolicyRefused(
            f"{key}.type: a Schedule of Workflows cannot be a gate, as Chaos Mesh cannot pause it: gate with "
            f"the Workflow, or with a Schedule of one of its experiments"
        )
    kind = kinds.find(spec.get("type"), f"{key}.type", spawned=True)
    if step and kind.name == "BlockChaos":
        raise PolicyRefused(f"{key}.type: Chaos Mesh drops a BlockChaos from the Schedule of a Workflow")
    embedded = _embedded(key, kind, spec)
    return part.read(root, (*where, kind.key), kind, embedded, cron=when, step=step)


def _embedded(key: str, kind: kinds.Kind, spec: Mapping[str, object]) -> dict[str, object]:
    """Return the spec of this kind, and refuse those beside it: they would be confined by nobody."""
    for other in spec:
        if other != kind.key and (other.endswith("Chaos") or other == "workflow"):
            advice = nearest(other, _KEYS) if other not in _KEYS else f"the type is {kind.name}"
            raise InvalidConfig(f"{key}.{other}", "a spec", f"only {kind.key}", advice)
    return mapping(f"{key}.{kind.key}", spec.get(kind.key))


# -- Workflows


@dataclass(frozen=True, slots=True)
class Flow:
    """What a Workflow does: its faults, how often it surely comes to which, and how long it takes at most."""

    parts: tuple[Part, ...]
    steps: Mapping[str, int]
    length: timedelta


@dataclass(slots=True)
class _Reading:
    root: str
    policy: Policy
    parts: dict[str, Part] = field(default_factory=dict)
    children: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    """of Serial and Parallel: the type and the names"""
    branches: dict[str, list[str]] = field(default_factory=dict)
    """of a Task: the names of those that may follow it"""
    checks: dict[str, Check] = field(default_factory=dict)
    deadlines: dict[str, timedelta | None] = field(default_factory=dict)
    lengths: dict[str, timedelta] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    """how many run where this one does"""


def read_workflow(root: str, spec: Mapping[str, object], policy: Policy) -> Flow:
    """Read all templates of a Workflow, and walk it from its entry.

    Raises:
        InvalidConfig, ScopeRefused, PolicyRefused: what is wrong, by the template's place.
    """
    templates = spec.get("templates")
    if not isinstance(templates, list) or not 0 < len(templates) <= MAX_NODES:
        raise InvalidConfig(f"{root}.templates", met(templates), f"a list of 1 to {MAX_NODES} templates")
    reading = _Reading(root, policy)
    for index, given in enumerate(templates):
        _template(reading, ("templates", index), mapping(f"{root}.templates[{index}]", given))
    entry = text(f"{root}.entry", spec.get("entry"))
    if entry not in reading.deadlines:
        raise InvalidConfig(
            f"{root}.entry", met(spec.get("entry")), "a template's name", nearest(entry, reading.deadlines)
        )
    length = _walk(reading, entry)
    _least(reading, entry, timedelta.max, entry)
    runs = Counter(_surely(reading, entry))
    steps = {name: times for name, times in runs.items() if name in reading.parts}
    if not steps:
        raise InvalidConfig(f"{root}.entry", quote(entry), "a template that leads to a fault")
    return Flow(tuple(reading.parts.values()), steps, length)


def _template(reading: _Reading, where: Path, given: Mapping[str, object]) -> None:
    key = key_of(reading.root, where)
    name = text(f"{key}.name", given.get("name"))
    if not name or name in reading.deadlines:
        raise InvalidConfig(f"{key}.name", met(given.get("name")), "a name that no other template has")
    type_ = text(f"{key}.templateType", given.get("templateType"))
    shortest = part.SHORTEST if type_ in _KEYS.values() else part.SECOND
    deadline = part.span(f"{key}.deadline", given.get("deadline"), shortest)
    reading.deadlines[name] = deadline
    _check_bare(key, type_, given)
    if type_ in _STEPS:
        reading.children[name] = (type_, texts(f"{key}.children", given.get("children")))
        return
    if type_ in {"Task", "StatusCheck"}:
        _check_policy(reading, key, type_, given)
    if deadline is None:
        raise InvalidConfig(
            f"{key}.deadline", "nothing", f"a Go duration such as 30s: without one a {type_} may never end"
        )
    if type_ == "StatusCheck":
        reading.checks[name] = checks.read(f"{key}.statusCheck", given.get("statusCheck"))
    elif type_ == "Task":
        reading.branches[name] = _branches(f"{key}.conditionalBranches", given.get("conditionalBranches"))
    elif type_ == "Schedule":
        schedule = mapping(f"{key}.schedule", given.get("schedule"))
        fault = read_schedule(reading.root, schedule, (*where, "schedule"), name)
        if fault.cron and period(fault.cron) > deadline:
            raise InvalidConfig(
                f"{key}.deadline",
                quote(given["deadline"]),
                "a time in which its Schedule fires at least once",
            )
        reading.parts[name] = fault
    elif type_ != "Suspend":
        reading.parts[name] = _chaos(reading, where, type_, given, name)


def _check_bare(key: str, type_: str, given: Mapping[str, object]) -> None:
    for other in given:
        if type_ in _BARE and other.endswith("Chaos"):
            raise InvalidConfig(f"{key}.{other}", "a spec", f"none in a template of type {type_}")


def _chaos(reading: _Reading, where: Path, type_: str, given: Mapping[str, object], name: str) -> Part:
    key = key_of(reading.root, where)
    kind = kinds.find(type_ or None, f"{key}.templateType", spawned=True)
    embedded = _embedded(key, kind, given)
    if "duration" in embedded:
        raise InvalidConfig(
            f"{key}.{kind.key}.duration",
            met(embedded["duration"]),
            "none",
            "in a Workflow the template's deadline says how long",
        )
    return part.read(reading.root, (*where, kind.key), kind, embedded, step=name)


def _check_policy(reading: _Reading, key: str, type_: str, given: Mapping[str, object]) -> None:
    allowed = reading.policy.allow_workflow_task if type_ == "Task" else reading.policy.allow_status_check
    if not allowed:
        flag = "--allow-workflow-task" if type_ == "Task" else "--allow-status-check"
        what = "starts a pod of its own" if type_ == "Task" else "lets Chaos Mesh's controller send requests"
        raise PolicyRefused(f"{key}: a {type_} {what}: remove it (the operator may allow it by {flag})")
    if type_ == "StatusCheck" and given.get("abortWithStatusCheck") is not True:
        raise InvalidConfig(
            f"{key}.abortWithStatusCheck",
            met(given.get("abortWithStatusCheck")),
            "true: Chaos Mesh tells nobody of a check that fails without it",
        )


def _branches(key: str, given: object) -> list[str]:
    if given is not None and not isinstance(given, list):
        raise InvalidConfig(key, met(given), "a list of {target, expression}")
    found = [mapping(f"{key}[{index}]", each) for index, each in enumerate(given or [])]
    return [text(f"{key}[{index}].target", each.get("target")) for index, each in enumerate(found)]


def _surely(reading: _Reading, name: str) -> Iterator[str]:
    """Yield what runs wherever this template does, as often as it does: no branch of a Task is among it."""
    yield name
    for child in reading.children.get(name, ("", []))[1]:
        yield from _surely(reading, child)


def _walk(reading: _Reading, name: str, above: tuple[str, ...] = ()) -> timedelta:
    """Return how long a template takes at most; what was walked is in `lengths` and `nodes`."""
    if name in reading.lengths:
        return reading.lengths[name]
    key = f"{reading.root}.templates"
    if name not in reading.deadlines:
        advice = nearest(name, reading.deadlines)
        raise InvalidConfig(key, f"the child {quote(name)}", "the name of a template", advice)
    if name in above:
        raise InvalidConfig(key, f"{quote(name)} within itself", "no circle")
    type_, children = reading.children.get(name, ("", reading.branches.get(name, [])))
    lengths = [_walk(reading, child, (*above, name)) for child in children]
    nodes = reading.nodes[name] = 1 + sum(reading.nodes[child] for child in children)
    if nodes > MAX_NODES:
        raise InvalidConfig(key, f"{quote(name)}, which runs {nodes} templates", f"at most {MAX_NODES}")
    whole = sum(lengths, timedelta()) if type_ == "Serial" else max(lengths, default=timedelta())
    deadline = reading.deadlines[name]
    if deadline is not None:
        whole = min(whole, deadline) if type_ in _STEPS and children else whole + deadline
    reading.lengths[name] = whole
    return whole


def _least(reading: _Reading, name: str, left: timedelta, ending: str) -> timedelta:
    """Return how long a template takes at least, of what is `left` until the deadline of `ending` is over.

    Raises:
        InvalidConfig: a check could not have failed by then, so that its failure would be hidden.
    """
    deadline = reading.deadlines[name]
    if deadline is not None and deadline <= left:
        left, ending = deadline, name
    check = reading.checks.get(name)
    if check is not None and check.fails_after >= left:
        raise _too_late(reading, name, check, left, ending)
    if name in reading.branches:
        for target in reading.branches[name]:
            _least(reading, target, left, ending)
    if check is not None or name in reading.branches:  # over at once, and a Task may lead nowhere
        return timedelta()
    if name not in reading.children:
        return deadline or left
    type_, children = reading.children[name]
    least = timedelta()
    for child in children:
        if type_ == "Serial":
            least += _least(reading, child, left - least, ending)
        else:
            least = max(least, _least(reading, child, left, ending))
    return least if deadline is None else min(least, deadline)


def _too_late(reading: _Reading, name: str, check: Check, left: timedelta, ending: str) -> InvalidConfig:
    deadline = reading.deadlines[ending] or left
    spent = f" less {spell(deadline - left)} before it" if left < deadline else ""
    return InvalidConfig(
        f"{reading.root}.templates[{list(reading.deadlines).index(ending)}].deadline",
        f'"{spell(deadline)}"{spent}',
        f"more than {spell(deadline - left + check.fails_after)}",
        f"the check {quote(name)} can have failed after {spell(check.fails_after)} at the earliest, when "
        f"{check.because}, and of a later failure Chaos Mesh tells nobody: "
        f"lengthen the deadline, or let the check fail sooner",
    )
