"""What the registry wants done, and what came of it.

Commands name the run; the provider looks up the rest in the run's specification, performs them in any
order and tells each one's outcome. At most one command of a kind is under way for a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chaosplugin.core.ledger import Hold, Mark, VerdictRecord
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Event, Pod
from chaosplugin.core.scope import ScopeInputs
from chaosplugin.core.verdict import Finding


@dataclass(frozen=True, slots=True)
class ObjectId:
    """One object of the experiment's namespace, and no other one of its name."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class ReadLedger:
    """Read the AnalysisRun and the experiment of this intent's name."""

    run: str


@dataclass(frozen=True, slots=True)
class ReadScope:
    """Read what proves that the pods are the canary's: AnalysisRun, owners, ReplicaSets.

    `holders` are the names of the ReplicaSets that control the pods.
    """

    run: str
    holders: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReadReplicas:
    """Read how many replicas the ReplicaSet wants by now; `version` is what the pods' watch has shown."""

    run: str
    version: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Read the canary's pods, the experiment and what it has spawned beside their watches.

    Of a Workflow also what is left of what is gone: its nodes, and Events. `version` is what the watch of the
    pods has shown; -1: only what was spawned is wanted. `told` is what the watches have told last of all the
    rest, by uid: of what they tell meanwhile the reading may be older.
    """

    run: str
    version: int
    told: Mapping[str, ChaosObject | None] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Create:
    """Create the experiment; at most one request leaves the process."""

    run: str
    manifest: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Find:
    """Read the experiment, as a create was not answered, or its watch is lost."""

    run: str


@dataclass(frozen=True, slots=True)
class FindPods:
    """Look up pods that a record names and no watch has shown."""

    run: str
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class ReadHistory:
    """Ask the API server whether the experiment was created after this resourceVersion."""

    run: str
    version: str


@dataclass(frozen=True, slots=True)
class WriteClaim:
    """Say on the AnalysisRun that the canary is to be this gate's next."""

    run: str
    claim: Hold


@dataclass(frozen=True, slots=True)
class WriteMark:
    """Put the mark on the AnalysisRun, unless there is one, or a verdict.

    `version` is the AnalysisRun's resourceVersion as last read.
    """

    run: str
    mark: Mark
    version: str


@dataclass(frozen=True, slots=True)
class WriteVerdict:
    """Record the verdict, unless another one stands there already: the first one wins."""

    run: str
    record: VerdictRecord
    wake: str


@dataclass(frozen=True, slots=True)
class WriteWake:
    """Make the controller call Resume, and all watches tell of the AnalysisRun.

    `unmark`: take this mark back, as nothing was created, and leave one that was made since.
    """

    run: str
    wake: str
    unmark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Read the AnalysisRun where it may not be patched: has Argo stored the measurement?"""

    run: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the experiment, which is the one with this uid."""

    run: str
    uid: str


@dataclass(frozen=True, slots=True)
class Release:
    """Remove the finalizers of what is stuck in its deletion: the experiment, or what it has spawned."""

    run: str
    objects: tuple[ObjectId, ...]


@dataclass(frozen=True, slots=True)
class Keep:
    """Label the experiment so that it stays; pause it where its fault is still on."""

    run: str
    pause: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """Pause a Schedule, as its window is over: it fires no more, and what it has fired recovers."""

    run: str


Command = (
    ReadLedger
    | ReadScope
    | ReadReplicas
    | Confirm
    | Create
    | Find
    | FindPods
    | ReadHistory
    | WriteClaim
    | WriteMark
    | WriteVerdict
    | WriteWake
    | Look
    | Delete
    | Release
    | Keep
    | Stop
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRead:
    """`analysis_run` None: it is gone. `value`: the canary's hash, found if it was not given."""

    analysis_run: AnalysisRun | None
    experiment: ChaosObject | None
    value: str


@dataclass(frozen=True, slots=True)
class ScopeRead:
    """What `scope.prove` needs but the pods; None: the AnalysisRun is gone."""

    inputs: ScopeInputs | None
    pods: Sequence[Pod] | None = None
    """all that the label matches, where their watch may be behind"""


@dataclass(frozen=True, slots=True)
class ReplicasRead:
    """None: the ReplicaSet is gone, or cannot be read."""

    replicas: int | None
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class Recalled:
    """WorkflowNodes, and the Events of each injection and recovery in their namespace."""

    nodes: Sequence[ChaosObject]
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The canary's pods, and spawned experiments of the namespace, whosever they are, as they are there."""

    pods: Sequence[Pod]
    children: Sequence[ChaosObject] = ()
    recalled: Recalled | None = None
    """of a Workflow, which deletes what it has spawned; read before `children`, so that what is not among
    them is gone"""
    experiment: ChaosObject | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The experiment as created, or as it is; None: there is none."""

    experiment: ChaosObject | None


@dataclass(frozen=True, slots=True)
class NameExists:
    """The create was refused because an object of that name is there."""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The create was sent, and nobody knows whether it arrived."""

    text: str


@dataclass(frozen=True, slots=True)
class PodsFound:
    """What a look-up of each name gave; None: no such pod."""

    pods: Mapping[str, Pod | None]


@dataclass(frozen=True, slots=True)
class AnalysisRunSeen:
    """The AnalysisRun as it was read or is after a patch; None: it is gone."""

    analysis_run: AnalysisRun | None


@dataclass(frozen=True, slots=True)
class VerdictWritten:
    """The verdict that now stands on the AnalysisRun: ours, or the one that was there first."""

    record: VerdictRecord
    analysis_run: AnalysisRun


@dataclass(frozen=True, slots=True)
class MarkFound:
    """Another process has made the mark: it may create, or has created."""

    analysis_run: AnalysisRun


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """Whether the experiment was created; None: the API server does not remember that far."""

    created: bool | None


@dataclass(frozen=True, slots=True)
class Done:
    """A delete or keep was accepted."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The command cannot be done, now or later, and certainly had no effect."""

    finding: Finding


@dataclass(frozen=True, slots=True)
class Failed:
    """The command could not be done now; a later try may succeed."""

    text: str


Outcome = (
    LedgerRead
    | ScopeRead
    | ReplicasRead
    | Confirmed
    | Found
    | NameExists
    | Unanswered
    | PodsFound
    | AnalysisRunSeen
    | VerdictWritten
    | MarkFound
    | HistoryRead
    | Done
    | Refused
    | Failed
)
