"""One gate: what was asked for, and how far it is. Data only; `judge` decides, `registry` moves it."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import force_setattr

from chaosplugin.core.analysis import Metric, Phase
from chaosplugin.core.family import Family
from chaosplugin.core.fault import Fault
from chaosplugin.core.ledger import Identity, Mark
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Pod
from chaosplugin.core.policy import Policy
from chaosplugin.core.steady_state import Baseline, Rules
from chaosplugin.core.topics import PodsTopic
from chaosplugin.core.trace import Trace, trace_of
from chaosplugin.core.verdict import Verdict

RESUME_GRACE = timedelta(seconds=30)
"""No patch of the AnalysisRun before the first Resume, or this long after Run: a patch under way makes
the controller call Run again from a stale copy."""
SINCE = "chaosplugin.io/since"
LATE = timedelta(seconds=60)
"""How long a create may be on its way of which nobody hears: it leaves soon or never, and the API server
ends requests by then."""
UNASKED = timedelta(seconds=30)
"""After how long without a call it is looked whether Argo waits still, where no watch tells of its end: the
AnalysisRun of a gate that may not mark it has no label. Such a gate is asked for every 15 s at the latest."""
STOOD_STILL = timedelta(seconds=10)
"""Who has done nothing for so long may have a successor: of Argo's controllers another one leads 15 s after
the last sign of this one, which it gives every 2 s."""
RECORD_GRACE = timedelta(seconds=30)
"""How long a verdict is answered to nobody before it is recorded: of two plugins one records it, and the
other answers the same."""


class Stage(StrEnum):
    """Where a gate is on its way."""

    __hash__ = str.__hash__  # Enum's own runs Python code, for each call

    RESTORING = "restoring"
    """reading the ledger: has this intent been begun, or judged, before?"""
    PROVING = "proving"
    """waiting for Ready targets and the proof that they are the canary's"""
    QUEUED = "queued"
    """another gate works on the same ReplicaSet"""
    CREATING = "creating"
    UNCERTAIN = "uncertain"
    """the create was sent, perhaps by an earlier process, and nobody knows whether it arrived"""
    OBSERVING = "observing"
    """the fault is on, or comes"""
    RECOVERING = "recovering"
    """the fault is over: does the canary hold?"""
    DECIDED = "decided"
    """verdict known; it is delivered, and what is left is removed"""
    DONE = "done"
    """a tombstone: the verdict is answered until the AnalysisRun ends"""


BEGINNING = frozenset({Stage.RESTORING, Stage.PROVING, Stage.QUEUED, Stage.CREATING})
"""The stages before there is an experiment."""


class Notice(StrEnum):
    """What people are told of a gate: the reason of an Event."""

    STARTED = "GateStarted"
    INJECTED = "FaultInjected"
    RECOVERED = "FaultRecovered"
    PASSED = "GatePassed"
    FAILED = "GateFailed"
    INCONCLUSIVE = "GateInconclusive"
    REFUSED = "GateRefused"
    DELETED = "ExperimentDeleted"
    KEPT = "ExperimentKept"
    STUCK = "ExperimentStuck"
    FORCED = "FinalizersRemoved"


class Spec(Struct, frozen=True, kw_only=True, gc=False):
    """What a call asks for, checked and ready to perform."""

    identity: Identity
    metric: Metric
    analysis_run: AnalysisRun
    """as it came with the call; its name, owner and labels do not change"""
    endpoint: str
    """the API server of pods and experiment; "" is the AnalysisRun's own"""
    credentials: str
    """name of the Secret for the endpoint"""
    kind: str
    namespace: str
    name: str
    label: str
    value: str
    """the canary's hash; "" where the owning Experiment's ReplicaSet tells it"""
    manifest: Callable[[str, Mapping[str, str]], dict[str, object]]
    """(hash, further annotations) -> experiment; raises InvalidConfig or ScopeRefused"""
    one_shot: bool
    rules: Rules
    timeout: timedelta
    target_timeout: timedelta
    on_no_targets: Phase
    keep: bool
    dry_run: bool
    secrets: tuple[str, ...]
    policy: Policy
    family: Callable[[], Family] | None = None
    """of a Schedule or a Workflow: makes the memory of what it spawns"""
    id: str = ""
    """the digest of the identity, which is asked for at every step"""

    def __post_init__(self) -> None:
        force_setattr(self, "id", self.identity.digest)

    @property
    def subject(self) -> str:
        """The experiment in words."""
        return f"{self.kind} {self.namespace}/{self.name}"


class Run(Struct, kw_only=True):
    """State of one gate. Times are ours unless a name says `server_`: then the API server's."""

    spec: Spec
    errors: int
    started_at: datetime
    restored: bool
    """begun by a Resume: an earlier process may have gone any part of the way"""
    by: str = ""
    """a word of this process, by which it knows a verdict that it has recorded"""
    sampled: bool = False
    """its trace is recorded"""
    stage: Stage = Stage.RESTORING
    told: Stage = Stage.RESTORING
    """the stage that was last told to the observers"""
    push: bool | None = None
    """may we wake the controller by a patch? None: not known yet"""
    offset: timedelta = timedelta()
    resumed: bool = False
    asked_at: datetime
    """when Argo has last asked, or was looked for"""
    pending: frozenset[type] = frozenset()
    """kinds of commands under way"""
    retry_at: datetime | None = None
    """a failed command is tried again then"""
    deadline: datetime | None = None
    """when the run wants to be looked at, whatever happens"""

    restoring_since: datetime | None = None
    """when it began again to read the ledger, as it had stood still"""
    since: str | None = None
    """the AnalysisRun's version as the measurement began, which Argo stores with it; None of one by an older
    plugin, "" where the experiment's cluster counts its own"""
    value: str = ""
    shown: bool = False
    """its AnalysisRun bears our label, by which the watches of all processes tell of it"""
    marked: bool = False
    mark: Mark | None = None
    """as this process asked for it, or found it"""
    mark_made: bool = False
    """this process has asked for it"""
    claimed_at: datetime | None = None
    """since when its claim of the canary stands"""
    analysis_run_version: str = ""
    """resourceVersion of the AnalysisRun as last read"""
    targets_until: datetime | None = None
    scope_version: int = -1
    """version of the pod store that the last proof has seen"""
    proved_at: datetime | None = None
    """when the last proof was made"""
    prove_at: datetime | None = None
    """when a proof that has to wait is tried again, if no pod changes before"""
    unread: str = ""
    """why the last proof could not be read, if it could not"""
    waiting_for: str = ""
    """what the proof waits for, or why the last command has failed"""
    unpaused: str = ""
    """why a Schedule is not paused though its window is over"""
    rollout_name: str = ""
    rollout_uid: str = ""
    """of the Rollout whose canary it is, once it was read"""
    replica_set: str = ""
    """uid of the one ReplicaSet whose pods may be hit"""
    replica_set_name: str = ""
    begun_at: datetime | None = None
    """when the measurement began, to the second: `started_at` is this process's"""
    injected_at: datetime | None = None
    """when this process first saw that all targets were hit"""
    ready_at: datetime | None = None
    """since when all targets were Ready, before the fault"""
    wanted: int | None = None
    wanted_version: int = -1
    """version of the pod store for which `wanted` was read"""
    generation: int | None = None
    """the ReplicaSet's, as read with `wanted`"""
    confirmed_at: datetime | None = None
    """when a reading last showed the same pods as the watch"""
    children_read_at: datetime | None = None
    """when the experiment and what it has spawned were last read beside their watches"""
    pods_behind: int = -1
    """version of the pod store that a reading has shown to be outdated"""
    baseline: Baseline | None = None
    marking_since: datetime | None = None
    uncertain_since: datetime | None = None
    ask_history: bool = False
    """the experiment is not there: was it ever?"""
    arrived: bool = False
    """it was created, by the API server's history"""
    late_until: datetime | None = None
    """how long a create may still arrive of which the API server knew nothing when it was asked"""

    create_sent: bool = False
    told_early: tuple[ChaosObject, bool] | None = None
    """what the watch has told while the create was not answered yet, and whether it is gone"""
    experiment: ChaosObject | None = None
    fault: Fault | None = None
    experiment_gone: bool = False
    gone_at: datetime | None = None
    """when that was seen"""
    found_at: datetime | None = None
    """when it was last looked up, beside its watch"""
    in_doubt: bool = False
    """it has left the watch, and no deletion was seen"""
    one_shot: bool
    rules: Rules
    dry_run: bool = False
    """as the metric's name tells, and then Argo, which takes the rules for regular expressions"""
    family: Family | None = None
    """what a Schedule or a Workflow has spawned"""
    breach_since: datetime | None = None
    """when the canary was first seen worse than allowed, while faults come and go"""
    spared_until: datetime | None = None
    """when the first of the pods that such faults excuse is excused no more, by the server's clock"""
    selection_failure: str = ""
    strangers_at: datetime | None = None
    """when a record's unknown pod is looked up"""
    looked_up: dict[str, Pod | None] = field(default_factory=dict)
    """by name; None: there is no such pod"""
    watching_since: datetime | None = None
    """when this process began to follow the experiment: it may have begun, or ended, long before"""
    server_created_at: datetime | None = None
    server_ended_at: datetime | None = None
    min_ready: int | None = None
    short: bool = False
    """after the fault, the canary was worse than before when last seen"""
    whole_at: datetime | None = None
    """when it was first seen to be as before, after it was not, by the server's clock"""

    verdict: Verdict | None = None
    decided_here: bool = False
    """this process has made the verdict, and no other was first"""
    decided_at: datetime | None = None
    awake_since: datetime | None = None
    """since when it tries anew to record its verdict, as it had stood still"""
    decided_in: Stage = Stage.RESTORING
    """the stage that the verdict has ended"""
    concluded: bool = False
    """the verdict stands, and is this process's: the observers were told"""
    recorded: bool = False
    looked: bool = False
    """the AnalysisRun was seen after the verdict, with none of another process: an Error is never recorded"""
    answered: bool = False
    """a Resume has been given the verdict"""
    stored: bool = False
    """Argo has stored the measurement, or the AnalysisRun is over"""
    run_over: bool = False
    """the AnalysisRun is completed or gone"""
    forget_at: datetime | None = None
    wakes: int = 0
    wake_at: datetime | None = None
    delete_sent_at: datetime | None = None
    clean_at: datetime | None = None
    kept: bool = False
    kept_at: datetime | None = None
    """when it was first labelled, and paused"""
    released: bool = False
    """its finalizers were removed"""
    told_notices: frozenset[Notice] = frozenset()
    told_state: tuple[bool, ...] = (False,) * 8
    """on which the notices depend, as last looked at"""

    @property
    def pods_topic(self) -> PodsTopic:
        return PodsTopic(self.spec.namespace, self.spec.label, self.value)

    @property
    def trace(self) -> Trace:
        return trace_of(self.spec.identity, self.errors)

    @property
    def holds_canary(self) -> bool:
        """A fault of this run may be on, or what it did is still judged: others must wait."""
        past = self.verdict is not None and self.fault is not None and self.fault.over
        return self.create_sent and not (past or self.left or self.gone)

    @property
    def left(self) -> bool:
        """It is kept, and its fault is over, or is one that no pause ends."""
        return self.kept and (self.one_shot or self.fault is None or self.fault.over)

    @property
    def gone(self) -> bool:
        """The experiment is gone, with all that it has spawned."""
        return self.experiment_gone and not (self.family and self.family.alive)

    @property
    def inherited(self) -> bool:
        """Another process has begun it, and may have gone any part of the way."""
        return self.restored or (self.mark is not None and not self.mark_made)

    def awaits_late(self, now: datetime) -> datetime | None:
        """Return until when a create may still arrive, of an earlier process or one that stood still."""
        until = self.late_until
        if until is None and self.inherited and self.decided_here and self.experiment is None:
            until = self.started_at + LATE
        return until if until is not None and now < until else None

    @property
    def remains(self) -> list[ChaosObject]:
        """What is there still: the experiment, or, once it is gone, what it has spawned."""
        if self.experiment is not None and not self.experiment_gone:
            return [self.experiment]
        return self.family.alive if self.family else []

    def is_about(self, uid: str) -> bool:
        """Tell whether an object is the experiment, or one that it has spawned."""
        if self.experiment is None:
            return False
        return uid == self.experiment.metadata.uid or (self.family is not None and self.family.holds(uid))

    @property
    def error(self) -> bool:
        """The verdict is Error, which Argo counts apart and retries; without an analysis nobody does."""
        retried = not self.spec.policy.claims
        return self.verdict is not None and self.verdict.phase is Phase.ERROR and retried

    @property
    def stands(self) -> bool:
        """The verdict will not be another's any more: recorded, or of those that never are."""
        error = self.error and (self.looked or not self.push)
        return self.verdict is not None and (error or self.recorded or self.stored or self.push is False)

    def settled(self, now: datetime) -> bool:
        """Tell whether the verdict may be answered: it stands, or was, or cannot be recorded for long."""
        if self.verdict is None:
            return False
        if self.stands or self.answered:
            return True
        stood_still = self.deadline is not None and now >= self.deadline + STOOD_STILL
        return not stood_still and now >= (self.awake_since or self.verdict.finished_at) + RECORD_GRACE
