"""What a soak does to its gates: drawn from a seed, so that it can be done again."""

import json
import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import yaml

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault, and what it does to a pod by its nature (by Chaos Mesh, not by the plugin)."""

    kind: str
    spec: str
    lasting: bool = True
    takes_down: bool = False
    """a pod that is hit cannot be Ready meanwhile"""
    restarts: int = 0
    """of a container of a pod that is hit: to the pause image and back"""


KINDS = {
    "pod-failure": Kind("PodChaos", "action: pod-failure", takes_down=True, restarts=2),
    "pod-kill": Kind("PodChaos", "action: pod-kill", lasting=False, takes_down=True),
    "delay": Kind("NetworkChaos", "{action: delay, delay: {latency: 10ms}}"),
    "stress": Kind("StressChaos", "stressors: {cpu: {workers: 1}}"),
}


KIND_GONE = "kind of stress deleted"
"""What history calls the time in which the last one's CRD was deleted, and all experiments with it."""


WINDOW_S = 7
"""How long a Schedule fires."""


class Form(StrEnum):
    """What the template holds: the fault itself, or what spawns it twice."""

    PLAIN = "plain"
    SCHEDULE = "Schedule"
    WORKFLOW = "Workflow"


class Moment(StrEnum):
    """When something is done to a gate."""

    BEGUN = "begun"
    CREATED = "created"
    INJECTED = "injected"
    RECOVERED = "recovered"
    DECIDED = "decided"


class Deed(StrEnum):
    """What somebody does to a gate, or to what it needs."""

    KEEP_DOWN = "the canary is not Ready from now on"
    FLAP = "a pod is not Ready for a while"
    RESTART = "a container restarts"
    REPLACE = "a pod is replaced"
    STRANGER = "somebody else's pod has the canary's label"
    SCALE = "the canary is scaled"
    DELETE_EXPERIMENT = "the experiment is deleted"
    PAUSE = "the experiment is paused"
    UNLABEL = "the experiment loses its labels"
    TERMINATE = "the AnalysisRun is terminated"
    DELETE_RUN = "the AnalysisRun is deleted"
    ABORT = "the Rollout is aborted"
    UPDATE = "the Rollout gets another version"
    ROLL_BACK = "the Rollout gets its old version"
    DELETE_ROLLOUT = "the Rollout is deleted"
    DELETE_NAMESPACE = "the namespace is deleted"


ENDING = frozenset(
    {
        Deed.TERMINATE,
        Deed.DELETE_RUN,
        Deed.ABORT,
        Deed.UPDATE,
        Deed.ROLL_BACK,
        Deed.DELETE_ROLLOUT,
        Deed.DELETE_NAMESPACE,
    }
)
"""Deeds after which the Rollout wants no verdict any more."""


@dataclass(frozen=True, slots=True)
class Act:
    """A deed, and when: so many seconds after a moment of the gate."""

    deed: Deed
    moment: Moment
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of the gate's template."""

    name: str
    kind: str
    mode: str
    duration: int
    count: int
    recover_within: int
    keep: bool
    form: Form = Form.PLAIN

    target_timeout: int = 4

    @property
    def timeout(self) -> int:
        """What the fault takes, and ten seconds at least that the plugin asks for beyond it."""
        return 15 if self.form is Form.PLAIN else 22

    @property
    def template(self) -> str:
        """Name of the experiment in the template: begins the names of those that are created."""
        return f"soak-{self.name}"

    def manifest(self, plugin: str) -> Json:
        """As it stands in an AnalysisTemplate."""
        spec = KINDS[self.kind].spec
        fault = {**yaml.safe_load(spec if spec.startswith("{") else f"{{{spec}}}"), "mode": self.mode}
        experiment = {
            "apiVersion": "chaos-mesh.org/v1alpha1",
            "kind": KINDS[self.kind].kind if self.form is Form.PLAIN else self.form.value,
            "metadata": {"name": self.template},
            "spec": self._spec(fault),
        }
        config: Json = {
            "chaosExperimentCRD": json.dumps(experiment),
            "timeout": f"{self.timeout}s",
            "targetTimeout": f"{self.target_timeout}s",
            "steadyState": {"recoverWithin": f"{self.recover_within}s"},
        }
        if self.form is Form.SCHEDULE:
            config["scheduleFor"] = f"{WINDOW_S}s"
        if self.keep:
            config["cleanupOnFinish"] = "false"
        found: Json = {"name": self.name, "provider": {"plugin": {plugin: config}}}
        return found | ({"count": self.count, "interval": "1s"} if self.count > 1 else {})

    def _spec(self, fault: Json) -> Json:
        kind = KINDS[self.kind]
        key = kind.kind[0].lower() + kind.kind[1:]
        lasting = fault | ({"duration": f"{self.duration}s"} if kind.lasting else {})
        match self.form:
            case Form.PLAIN:
                return lasting
            case Form.SCHEDULE:
                brief = lasting | ({"duration": "1s"} if kind.lasting else {})
                return {"schedule": "@every 3s", "type": kind.kind, key: brief}
            case Form.WORKFLOW:
                fails = {"templateType": kind.kind, "deadline": "2s", key: fault}
                templates = [
                    {"name": "all", "templateType": "Serial", "children": ["fault", "rest", "again"]},
                    {"name": "fault"} | fails,
                    {"name": "rest", "templateType": "Suspend", "deadline": "1s"},
                    {"name": "again"} | fails,
                ]
                return {"entry": "all", "templates": templates}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One gate: its Rollout, its metrics, and what happens to it."""

    number: int
    replicas: int
    """of the Rollout; half of them are the canary's"""
    metrics: tuple[Metric, ...]
    acts: tuple[Act, ...] = ()
    apply_fails: int = 0
    """tries that fail; -1: all"""
    recover_fails: int = 0
    down_from_start: bool = False
    """the canary falls when its analysis begins, and stays down"""
    no_canary: bool = False
    """the analysis comes before the first setWeight"""
    first_at: float = field(default=0.0)
    """seconds from the beginning of its turn to the beginning of its canary"""

    @property
    def namespace(self) -> str:
        return f"gate-{self.number}"


def draw(seed: int, number: int) -> Plan:
    """Draw the gate of this number: the same for the same seed, whatever comes before it."""
    dice = random.Random(f"{seed}/{number}")  # noqa: S311 - nothing to guard
    metrics = [_metric(dice, "a", _form(seed, number, "a"))]
    if dice.random() < 0.08:
        metrics.append(_metric(dice, "b", _form(seed, number, "b")))
    fate = dice.random()
    more: Json = {}
    if fate < 0.30:
        pass  # nobody does anything
    elif fate < 0.36:
        more["apply_fails"] = dice.choice((1, 2, 5, -1))
    elif fate < 0.42:
        more["recover_fails"] = dice.choice((1, 2, 5, -1))
    elif fate < 0.45:
        more["down_from_start"] = True
    elif fate < 0.47:
        more["no_canary"] = True
    else:
        more["acts"] = tuple(_act(dice) for _ in range(2 if dice.random() < 0.15 else 1))
    replicas = dice.choice((2, 4, 4, 6))
    return Plan(number=number, replicas=replicas, metrics=tuple(metrics), first_at=dice.random(), **more)


def _form(seed: int, number: int, name: str) -> Form:
    """Draw one gate in four as what spawns; by dice of its own, so that gates stay which they were."""
    dice = random.Random(f"{seed}/{number}/{name}")  # noqa: S311 - nothing to guard
    return dice.choice((*[Form.PLAIN] * 6, Form.SCHEDULE, Form.WORKFLOW))


def _metric(dice: random.Random, name: str, form: Form) -> Metric:
    return Metric(
        name=name,
        form=form,
        kind=dice.choice(("pod-failure", "pod-failure", "pod-failure", "pod-kill", "delay", "stress")),
        mode=dice.choice(("one", "all")),
        duration=dice.randint(2, 4),
        count=2 if dice.random() < 0.1 else 1,
        recover_within=dice.randint(3, 5),
        keep=dice.random() < 0.05,
    )


_HARM = (Deed.KEEP_DOWN, Deed.FLAP, Deed.RESTART, Deed.REPLACE)
_HARM_AT = (Moment.CREATED, Moment.INJECTED, Moment.INJECTED, Moment.RECOVERED, Moment.RECOVERED)


def _act(dice: random.Random) -> Act:
    """Harm to the canary is the most frequent: on it depends what is right."""
    if dice.random() < 0.4:
        deed, moment = dice.choice(_HARM), dice.choice(_HARM_AT)
    else:
        deed, moment = dice.choice([each for each in Deed if each not in _HARM]), dice.choice(list(Moment))
    return Act(deed, moment, round(dice.choice((0.0, dice.uniform(0, 0.3), dice.uniform(0, 4))), 3))
