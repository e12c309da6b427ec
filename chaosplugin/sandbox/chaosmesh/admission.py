"""Chaos Mesh's webhooks: what they fill in, what they refuse, and whom."""

from collections.abc import Iterator
from typing import Any

from chaosplugin.sandbox.api.access import Request
from chaosplugin.sandbox.api.admission import Admission, Review
from chaosplugin.sandbox.api.errors import ApiError, denied
from chaosplugin.sandbox.api.resources import CHAOS_KINDS, SCHEDULES, WORKFLOWS, Object
from chaosplugin.sandbox.chaosmesh import cron
from chaosplugin.sandbox.chaosmesh.durations import parse
from chaosplugin.sandbox.chaosmesh.schemas import EMBEDDED, SCHEMAS

_KINDS = frozenset(CHAOS_KINDS)
_ALL = frozenset({*CHAOS_KINDS, SCHEDULES, WORKFLOWS})
_KEYS = {kind: key for key, kind in EMBEDDED.items()}


def install(admission: Admission) -> None:
    """Register the CRDs' schemas and the webhooks."""
    admission.schemas.update(SCHEMAS)
    admission.mutating.append(default)
    admission.validating += [validate, authorize]


def default(review: Review) -> None:
    """m<kind>.kb.io: a selector without namespaces means the object's own.

    A Schedule's embedded selectors are left alone, as upstream leaves them.
    """
    if review.resource not in _KINDS and review.resource is not WORKFLOWS:
        return
    for selector in _selectors(review.object):
        if not selector.get("namespaces") and review.operation == "CREATE":
            selector["namespaces"] = [review.namespace]


def validate(review: Review) -> None:
    """v<kind>.kb.io.

    Raises:
        ApiError: 403, with every fault of the spec; also for any change of an experiment's spec.
    """
    if review.resource not in _ALL:
        return
    webhook, spec = f"v{review.resource.kind.lower()}.kb.io", review.object["spec"]
    if review.old is not None and review.resource in _KINDS:
        if review.old["spec"] != spec:
            raise denied(webhook, "Cannot update chaos spec")
        return
    if review.resource is SCHEDULES:
        faults = list(_schedule_faults(webhook, spec))
    elif review.resource is WORKFLOWS:
        faults = list(_workflow_faults(spec))
    else:
        faults = list(_faults(review.resource.kind, spec))
    if faults:
        raise denied(webhook, faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")


def authorize(review: Review) -> None:
    """vauth.kb.io: the user needs the verb on the lower-case kind in every namespace aimed at.

    Raises:
        ApiError: 403 for the first namespace that is denied, or for the cluster where a selector names none.
    """
    if review.resource not in _ALL:
        return
    verb = review.operation.lower()
    for namespace in _aims(review.object):
        question = Request(verb, "chaos-mesh.org", review.resource.kind.lower(), namespace)
        if not review.access.allowed(review.user, question):
            where = f"namespace {namespace}" if namespace else "cluster"
            raise denied("vauth.kb.io", f"{review.user.name} is forbidden on {where}")


def _aims(obj: Object) -> list[str]:
    found: set[str] = set()
    for selector in _selectors(obj):
        named = {*(selector.get("namespaces") or ()), *(selector.get("pods") or ())}
        found |= named or {""}
    return sorted(found)


def _selectors(value: Any) -> Iterator[Object]:
    """Yield every pod selector of an object: its own, `target`'s, and those embedded."""
    spec = value.get("spec") or {}
    yield from _of_spec(spec)
    for key in EMBEDDED:
        yield from _of_spec(spec.get(key) or {})
    templates = [*(spec.get("templates") or ()), *((spec.get("workflow") or {}).get("templates") or ())]
    for template in templates:
        for holder in (template, template.get("schedule") or {}):
            for key in EMBEDDED:
                yield from _of_spec(holder.get(key) or {})


def _of_spec(spec: Object) -> Iterator[Object]:
    target = spec.get("target")
    for holder in (spec, target if isinstance(target, dict) else {}):
        if isinstance(holder.get("selector"), dict):
            yield holder["selector"]


# -- what is wrong with a spec, in upstream's words


def _faults(kind: str, spec: Object) -> Iterator[str]:
    yield from _duration(spec)
    yield from _value(spec)
    if kind == "PodChaos" and spec["action"] == "container-kill" and not spec.get("containerNames"):
        yield (
            "Spec.ContainerNames: Invalid value: null: "
            "the name of container is required on container-kill action"
        )
    if kind == "NetworkChaos" and spec["action"] != "partition":
        yield from _direction(spec)
    if kind == "StressChaos" and not spec.get("stressors") and not spec.get("stressngStressors"):
        yield "Spec: Invalid value: null: missing stressors"
    if kind == "HTTPChaos" and spec.get("port", 0) <= 0:
        yield f"Spec.Port: Invalid value: {spec.get('port', 0)}: port {spec.get('port', 0)} is not supported"
    if kind == "IOChaos" and spec["action"] == "fault" and not spec.get("errno"):
        yield "Spec.Errno: Invalid value: 0: action fault: errno 0 is not supported"
    if kind == "TimeChaos":
        try:
            parse(spec["timeOffset"])
        except ValueError as error:
            text = spec["timeOffset"]
            yield f'Spec.TimeOffset: Invalid value: "{text}": parse timeOffset field error: {error}'


def _duration(spec: Object) -> Iterator[str]:
    text = spec.get("duration")
    if not text:
        return
    try:
        parse(text)
    except ValueError as error:
        yield f'Spec.Duration: Invalid value: "{text}": parse duration field error: {error}'


def _value(spec: Object) -> Iterator[str]:
    mode, text = spec["mode"], spec.get("value") or ""
    if mode in {"one", "all"}:
        return
    field = f'Spec.ContainerSelector.value: Invalid value: "{text}"'
    if not text.lstrip("-").isdigit():
        yield f'{field}: parse value field error:strconv.Atoi: parsing "{text}": invalid syntax'
    elif mode == "fixed" and int(text) <= 0:
        yield f"{field}: value must be greater than 0 with mode:{mode}"
    elif mode != "fixed" and not 0 < int(text) <= 100:
        yield f"{field}: value of {int(text)} is invalid, Must be (0,100] with mode:{mode}"


def _direction(spec: Object) -> Iterator[str]:
    if spec.get("direction") not in {"from", "both"}:
        return
    field = f'Spec.Direction: Invalid value: "{spec["direction"]}"'
    if spec.get("externalTargets"):
        yield f"{field}: external targets cannot be used with `from` and `both` direction in netem action yet"
    if not spec.get("target"):
        yield f"{field}: `from` and `both` direction cannot be used when targets is empty in netem action"


# -- what spawns experiments


def _schedule_faults(webhook: str, spec: Object) -> Iterator[str]:
    """Raises: ApiError 500, where the type has no spec: upstream panics."""
    try:
        cron.parse(spec["schedule"])
    except ValueError as error:
        yield f'spec.schedule: Invalid value: "{spec["schedule"]}": parse schedule field error:{error}'
    kind = spec["type"]
    if kind == "Workflow":
        return
    embedded = spec.get(_KEYS.get(kind, ""))
    if embedded is None:
        panic = "panic: runtime error: invalid memory address or nil pointer dereference [recovered]"
        raise ApiError(500, "", f'admission webhook "{webhook}" denied the request: {panic}')
    yield from _faults(kind, embedded)


def _workflow_faults(spec: Object) -> Iterator[str]:
    templates: list[Object] = spec["templates"]
    names = [template["name"] for template in templates]
    if spec["entry"] not in names:
        entry = spec["entry"]
        yield f'spec.entry: Invalid value: "{entry}": can not find a template with name {entry}'
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        told = f"template name must be unique, duplicated names: [{' '.join(duplicates)}]"
        yield f'spec.templates: Invalid value: "": {told}'
    for index, template in enumerate(templates):
        yield from _template_faults(f"spec.templates[{index}]", template, names)


def _template_faults(place: str, template: Object, names: list[str]) -> Iterator[str]:
    kind = template["templateType"]
    for index, child in enumerate(template.get("children") or ()):
        if child not in names:
            told = f"can not find a template with name {child}"
            yield f'{place}.children[{index}]: Invalid value: "{child}": {told}'
    if kind == "Suspend" and not template.get("deadline"):
        told = "deadline in template with type Suspend could not be empty"
        yield f"{place}.deadline: Invalid value: null: {told}"
    if kind in _KEYS:
        embedded = template.get(_KEYS[kind])
        if embedded is None:
            told = f"parse workflow field error: missing chaos spec {kind}"
            yield f"{place}.{kind}: Invalid value: null: {told}"
            return
        if embedded.get("duration"):
            told = "should not define duration in chaos when using Workflow, use Template#Deadline instead."
            yield f'{place}: Invalid value: "{embedded["duration"]}": {told}'
        yield from _faults(kind, embedded)
    elif kind not in {"Serial", "Parallel", "Suspend", "Schedule", "Task", "StatusCheck"}:
        yield f'{place}.templateType: Invalid value: "{kind}": unrecognized template type: {kind}'
