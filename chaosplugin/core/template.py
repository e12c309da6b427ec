"""The user's experiment as given in chaosExperimentCRD: one object of a usable kind, checked in form.

What the CRD and Chaos Mesh's webhooks check better is left to them; checked here is what decides who
is hit, how long, and how it is judged. Server-owned fields of an object that was copied out of a
cluster are dropped: a status, for one, would be believed by Chaos Mesh and end its selection.
"""

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct
from msgspec.structs import replace

from chaosplugin.core import kinds, part, spawning
from chaosplugin.core.forms import known, mapping, met, optional, pairs, text
from chaosplugin.core.kinds import API_VERSION, SCHEDULE, WORKFLOW, Kind
from chaosplugin.core.part import Part
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig

KEY = "chaosExperimentCRD"
SPEC = f"{KEY}.spec"

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_KEPT_METADATA = ("name", "generateName", "namespace", "labels", "annotations")
_SERVER_METADATA = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "ownerReferences",
    "finalizers",
)
_STEERING = ("chaos-mesh.org", "chaosplugin.io")
_STEERING_KEYS = (
    "managed-by",  # a Schedule collects its children by it
    "app.kubernetes.io/managed-by",
    "kubectl.kubernetes.io/last-applied-configuration",
)


class Template(Struct, frozen=True, kw_only=True):
    """An experiment before it is bound to a canary."""

    kind: Kind
    parts: tuple[Part, ...]
    """its faults: one, or those which a Workflow holds"""
    name: str
    namespace: str
    """as given, "" if not"""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    spec: Mapping[str, object]
    window: timedelta | None = None
    """how long a scheduler of Chaos Mesh 1.x repeats it, where its duration says so"""
    steps: Mapping[str, int] = {}
    """templates of a Workflow that must hit something, and how often"""
    length: timedelta = timedelta()
    """how long a Workflow takes at most"""

    @property
    def one_shot(self) -> bool:
        return all(part.effect.one_shot for part in self.parts)


def read(given: object, policy: Policy) -> Template:
    """Check an experiment.

    Raises:
        InvalidConfig: names the field.
        ScopeRefused, PolicyRefused: the kind cannot be used as a gate.
    """
    top = mapping(KEY, given)
    known(KEY, top, _TOP)
    if top.get("apiVersion") != API_VERSION:
        raise InvalidConfig(f"{KEY}.apiVersion", met(top.get("apiVersion")), f'"{API_VERSION}"')
    kind = kinds.find(top.get("kind"))
    metadata = optional(f"{KEY}.metadata", top.get("metadata"))
    known(f"{KEY}.metadata", metadata, (*_KEPT_METADATA, *_SERVER_METADATA))
    spec = mapping(SPEC, top.get("spec"))
    template = Template(
        kind=kind,
        parts=(),
        name=text(f"{KEY}.metadata.name", metadata.get("name"))
        or text(f"{KEY}.metadata.generateName", metadata.get("generateName")),
        namespace=text(f"{KEY}.metadata.namespace", metadata.get("namespace")),
        labels=_kept(pairs(f"{KEY}.metadata.labels", metadata.get("labels"))),
        annotations=_kept(pairs(f"{KEY}.metadata.annotations", metadata.get("annotations"))),
        spec=spec,
    )
    if kind.name == WORKFLOW:
        flow = spawning.read_workflow(SPEC, spec, policy)
        return replace(template, parts=flow.parts, steps=flow.steps, length=flow.length)
    if kind.name == SCHEDULE:
        return replace(template, parts=(spawning.read_schedule(SPEC, spec),))
    if spec.get("scheduler") is not None:
        return _scheduled(template)
    return replace(template, parts=(part.read(SPEC, (), kind, spec),))


def _scheduled(template: Template) -> Template:
    """Turn the form of Chaos Mesh 1.x, `scheduler.cron` in the experiment, into a Schedule.

    There the duration of a fault that lasts is that of each firing, and of a one-shot one the window.
    """
    kind, spec = template.kind, dict(template.spec)
    scheduler = mapping(f"{SPEC}.scheduler", spec.pop("scheduler"))
    known(f"{SPEC}.scheduler", scheduler, ("cron",))
    when = spawning.read_cron(f"{SPEC}.scheduler.cron", scheduler.get("cron"))
    window = part.span(f"{SPEC}.duration", spec.get("duration"))
    fault = replace(part.read(SPEC, (), kind, spec, cron=when), where=(kind.key,))
    return replace(
        template,
        kind=kinds.KINDS[SCHEDULE],
        parts=(fault,),
        spec={"schedule": scheduler["cron"], "type": kind.name, kind.key: spec},
        window=window if fault.effect.one_shot else None,
    )


def _kept(given: Mapping[str, str]) -> dict[str, str]:
    """Drop what steers Chaos Mesh (pause, cleanFinalizer) or is ours to say."""
    kept = {}
    for key, value in given.items():
        domain = key.partition("/")[0] if "/" in key else ""
        steers = any(domain == owner or domain.endswith("." + owner) for owner in _STEERING)
        if not steers and key not in _STEERING_KEYS:
            kept[key] = value
    return kept
