"""The metric provider: answers Argo's calls from memory, and lets the background do the work.

No call waits for the cluster. Run and Resume start or restore a run in the registry and answer what is
known; commands are performed, watches followed and deadlines kept by tasks of the application's group,
so that a call that dies takes nothing with it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from secrets import token_hex

import anyio
from anyio.abc import TaskGroup
from msgspec.structs import replace

from chaosplugin import __version__
from chaosplugin.core import announcements, delivery, ledger
from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.commands import Command, Delete, Keep, Outcome, ReadLedger, Release
from chaosplugin.core.interests import Watch
from chaosplugin.core.objects import AnalysisRun, secrets_of
from chaosplugin.core.policy import Policy, Wake
from chaosplugin.core.progress import Defect, Transition
from chaosplugin.core.redaction import Redactor
from chaosplugin.core.refusal import Refusal, ScopeRefused
from chaosplugin.core.registry import Registry
from chaosplugin.core.run import Run, Spec, Stage
from chaosplugin.core.topics import WatchEvent
from chaosplugin.core.trace import trace_of
from chaosplugin.core.verdict import Reason
from chaosplugin.provider import facts
from chaosplugin.provider.announcing import Announcer
from chaosplugin.provider.background import keep
from chaosplugin.provider.facts import Observer
from chaosplugin.provider.lanes import Lanes
from chaosplugin.provider.performing import AT_HOME, defect, ledger_as_told, perform, translate
from chaosplugin.provider.ports import Access, Cluster, ClusterError, Clusters
from chaosplugin.provider.specs import Specs, require
from chaosplugin.provider.sweeping import sweep_for_ever
from chaosplugin.provider.watching import Watching

_log = logging.getLogger(__name__)

TYPE = "ChaosMesh"
"""What Argo's Type() answers."""

_ORIGIN_AGAIN_S = 60.0
"""Pause before the uid of kube-system, which no gate waits for, is asked for again."""

_NO_PATCH = (
    "may not patch %s in namespace %s: gates there leave no mark and no verdict, so the controller is not "
    "woken, but asks by itself every 15 s, and gates of other processes do not wait for their turn; grant "
    "patch on %s, as %s does"
)
_OF_ARGO = ("analysisruns.argoproj.io", "the ClusterRole argo-rollouts of its install manifest")

_STORED_S = 0.25
"""The first Resume comes 5 to 47 ms after Run, later where metrics are slow."""


class ChaosProvider:
    """The seven methods of Argo's MetricProvider over the registry."""

    def __init__(
        self,
        tasks: TaskGroup,
        clusters: Clusters,
        *,
        clock: Callable[[], datetime],
        step: Callable[[], timedelta] = timedelta,
        policy: Policy,
        load_yaml: Callable[[str], object],
        observer: Observer,
        sampled: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._tasks = tasks
        self._clusters = clusters
        self._clock = clock
        self._step = step
        self._policy = policy
        self._specs = Specs(policy=policy, load_yaml=load_yaml, origin=lambda: self._origin)
        self._observer = observer
        self._sampled = sampled
        self._registry = Registry(by=token_hex(4))
        self._lanes = Lanes(tasks, self._perform)
        self._watching = Watching(tasks, clusters.home_now, self._cluster_of, self._observe)
        self._changed = anyio.Event()
        self._awaited: datetime | None = None
        """the deadline for which `serve` sleeps"""
        self._unresumed: dict[str, anyio.Event] = {}
        """by the ids of runs whose ledger is read after their first Resume"""
        self._told_unwritable: set[str] = set()
        """namespaces of which the log says that gates there cannot write"""
        self._origin = ""
        self._announcer = Announcer(clusters.home, clock)

    async def serve(self, turn: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Keep deadlines until cancelled; runs beside the calls.

        `turn` tells whether it is for this process to sweep; without it, it is.
        """
        self._tasks.start_soon(keep, self._learn_origin)
        self._tasks.start_soon(keep, self._announcer.serve)
        clock = self._clock if self._policy.force_cleanup else None
        sweep = partial(
            sweep_for_ever, self._clusters.home, self._registry.attends, self._observer, clock, turn
        )
        self._tasks.start_soon(keep, sweep)
        try:
            await self._keep_deadlines()
        finally:
            self._watching.close()

    async def _keep_deadlines(self) -> None:
        while True:
            self._changed = anyio.Event()
            at = self._awaited = self._registry.next_deadline()
            pause = None if at is None else max(0.0, (at - self._clock()).total_seconds())
            with anyio.move_on_after(pause) if pause is not None else anyio.CancelScope():
                await self._changed.wait()
            self._apply(self._registry.tick(self._clock()))

    # -- Argo's calls ----------------------------------------------------------------------------

    def init(self) -> str:
        """Nothing can fail here that each call would not say better: Argo reports this only once."""
        return ""

    def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        """Begin a measurement, or answer the one that was begun for this intent."""
        now = self._clock()
        try:
            found, spec = self._specified(run, metric, begins=True)
        except Refusal as refusal:
            return self._refused(run, metric, refusal, None)
        self._begin(now, found, spec)
        measurement, commands = self._registry.answer(now, spec.id)
        self._apply(commands)
        return self._as_told(measurement)

    def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        """Answer from memory; a run that is not known is restored from the cluster first."""
        try:
            found, spec = self._specified(run, metric)
            if "chaosplugin.io/run" not in measurement.metadata:
                return self._stranger(measurement)
        except Refusal as refusal:
            return self._refused(run, metric, refusal, measurement)
        now = self._clock()
        self._begin(now, found, spec, measurement)
        answer, commands = self._registry.answer(now, spec.id, measurement)
        self._apply(commands)
        if (awaited := self._unresumed.pop(spec.id, None)) is not None:
            awaited.set()
        return self._as_told(answer)

    def terminate(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        """End in one call: whatever is still to be done is done in the background."""
        try:
            found, spec = self._specified(run, metric)
        except Refusal as refusal:
            return self._refused(run, metric, refusal, measurement)
        now = self._clock()
        self._begin(now, found, spec, measurement)
        answer, commands = self._registry.terminate(
            now, spec.id, "the measurement was terminated", measurement
        )
        self._apply(commands)
        return answer

    def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        """Nothing is kept per measurement: experiments go with their verdict or their AnalysisRun."""
        del run, metric, limit
        return ""

    def type(self) -> str:
        return TYPE

    def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        """Say who measures. Nothing of the configuration: no AnalysisRun tells here what is secret."""
        del metric
        return {"chaosplugin": __version__}

    def _as_told(self, measurement: Measurement) -> Measurement:
        """The host compares `resumeAt` with the machine's clock, which may have been set since we began."""
        if measurement.resume_at is None:
            return measurement
        return replace(measurement, resume_at=measurement.resume_at + self._step())

    @property
    def runs(self) -> Mapping[str, Run]:
        """The gates that this process knows, to look at."""
        return self._registry.runs

    def check(self, run: AnalysisRun, metric: Metric) -> None:
        """Refuse what a Run would refuse at once. Raises: Refusal."""
        self._specs.to_begin(run, metric)

    # -- between calls and registry ----------------------------------------------------------------

    def _specified(
        self, run: AnalysisRun | None, metric: Metric, *, begins: bool = False
    ) -> tuple[AnalysisRun, Spec]:
        """Read a call. Raises: Refusal, also for a uid that is known of another AnalysisRun.

        A client of `serve` is let into namespaces, and a namespace with another's uid is only its word.
        """
        found = require(run)
        spec = self._specs.to_begin(found, metric) if begins else self._specs.of(found, metric)
        known = self._registry.run(spec.id)
        if known is not None and known.spec.analysis_run.metadata.namespace != found.metadata.namespace:
            raise ScopeRefused(f"namespace {found.metadata.namespace} has no AnalysisRun of this uid")
        return found, spec

    def _begin(self, now: datetime, run: AnalysisRun, spec: Spec, given: Measurement | None = None) -> None:
        known = self._registry.run(spec.id)
        errors = ledger.errors(run, spec.identity.metric)
        if known is not None and known.errors == errors:
            if commands := self._registry.start(now, spec, run, errors=errors, given=given):
                self._apply(commands)  # the call has brought another process's verdict
            return
        home = self._clusters.home_now() if given and not spec.endpoint else None
        ledger_told = ledger_as_told(spec, home, home) if home else None
        commands = self._registry.start(
            now,
            spec,
            run,
            errors=errors,
            given=given,
            sampled=self._sampled(trace_of(spec.identity, errors).id),
            push=self._may_wake(spec),
            told=(ledger_told, home.clock_offset) if ledger_told and home else None,
        )
        begun = self._registry.runs[spec.id]
        before = facts.gate.set(facts.gate_of(begun))
        try:
            self._apply(commands)
        finally:
            facts.gate.reset(before)
        if begun is not known and begun.push is None:
            self._tasks.start_soon(keep, partial(self._review, spec, facts.gate_of(begun)))

    def _may_wake(self, spec: Spec) -> bool | None:
        """Tell whether the AnalysisRun may be patched, if that is known; answers are cached by the cluster.

        What is known at once spares Argo a call by time, and the gate two seconds.
        """
        if self._policy.wake is not None:
            return self._policy.wake is Wake.PUSH
        home = self._clusters.home_now()
        return home.allowed_lately(_patch_in(spec)) if home else None

    async def _review(self, spec: Spec, gate: facts.Gate) -> None:
        facts.gate.set(gate)
        access = _patch_in(spec)
        namespace = access.namespace
        while (run := self._registry.run(spec.id)) is not None and run.push is None:
            try:
                push = await (await self._clusters.home()).allowed(access)
            except ClusterError as error:
                _log.warning("cannot review access to AnalysisRuns of %s: %s", namespace, error)
                await anyio.sleep(2)
                continue
            if not push and namespace not in self._told_unwritable:
                self._told_unwritable.add(namespace)
                what, granted = ("configmaps", "deploy/gates") if self._policy.claims else _OF_ARGO
                _log.warning(_NO_PATCH, what, namespace, what, granted)
            self._apply(self._registry.allow(self._clock(), spec.id, push=push))

    async def _learn_origin(self) -> None:
        while True:
            try:
                self._origin = await (await self._clusters.home()).origin()
            except ClusterError as error:
                _log.info("the uid of namespace kube-system is not known: %s", error)
                await anyio.sleep(_ORIGIN_AGAIN_S)
            else:
                return

    def _refused(
        self, run: AnalysisRun | None, metric: Metric, refusal: Refusal, given: Measurement | None
    ) -> Measurement:
        secrets = secrets_of(run) if run else ()
        message = Redactor.of(secrets).text(f"{refusal.reason}: {refusal}")
        trace = trace_of(ledger.identify(run, metric.name), ledger.errors(run, metric.name)) if run else None
        fact = facts.Refused(
            analysis_run=run,
            metric=metric.name,
            trace=trace,
            reason=refusal.reason,
            message=message,
            at=self._clock(),
        )
        self._observer(fact)
        if run is not None and run.metadata.uid:
            self._announcer.tell([announcements.refusal(run, metric.name, message)])
        now = fact.at.replace(microsecond=0)
        return Measurement(
            phase=refusal.reason.phase,
            message=message,
            started_at=(given.started_at if given else None) or now,
            finished_at=now,
        )

    def _stranger(self, given: Measurement) -> Measurement:
        now = self._clock().replace(microsecond=0)
        return Measurement(
            phase=Phase.INCONCLUSIVE,
            message=f"{Reason.UNOBSERVED}: this measurement was not begun by this plugin; run the gate again",
            started_at=given.started_at or now,
            finished_at=now,
            metadata=given.metadata,
        )

    # -- the background ------------------------------------------------------------------------------

    def _apply(self, commands: list[Command]) -> None:
        """Follow the registry after each change of it."""
        for command in commands:
            self._lanes.start(command, self._registry.run(command.run))
        if self._registry.defects:
            self._report(self._registry.defects)
            self._registry.defects = []
        if self._registry.progress:
            progress, self._registry.progress = self._registry.progress, []
            for fact in progress:
                self._observer(fact)
                if isinstance(fact, Transition) and fact.after is Stage.DONE:
                    self._specs.forget(fact.run.spec)
        if self._registry.announcements:
            told, self._registry.announcements = self._registry.announcements, []
            self._announcer.tell(told)
        if changes := self._registry.watch_changes():
            self._watching.follow(changes)
        if self._registry.next_deadline() != self._awaited:
            self._changed.set()

    @staticmethod
    def _report(defects: list[Defect]) -> None:
        for each in defects:
            before = facts.gate.set(facts.gate_of(each.run))  # whose secrets are not for the log
            _log.error("an error of chaosplugin itself ended a gate; please report it", exc_info=each.error)
            facts.gate.reset(before)

    async def _perform(self, command: Command) -> None:
        run = self._registry.run(command.run)
        if run is None:
            return
        facts.gate.set(facts.gate_of(run))
        outcome: Outcome
        offset = None
        if isinstance(command, ReadLedger) and not run.resumed:
            await self._first_resume(command.run)
        try:
            home = await self._clusters.home()
            alone = isinstance(command, AT_HOME)  # an endpoint that is away keeps no verdict back
            there = home if alone else await self._there(run.spec, begins=isinstance(command, ReadLedger))
        except ClusterError as error:
            outcome = translate(error, command, run)
        except Exception as error:  # noqa: BLE001  the boundary, as of what is performed
            outcome = defect(error, command)
        else:
            outcome = await perform(command, run, home, there)
            offset = None if alone and run.spec.endpoint else there.clock_offset
        self._observer(facts.Performed(run, command, outcome))
        self._apply(self._registry.outcome(self._clock(), command, outcome, offset))
        if isinstance(command, Delete | Keep | Release) and (wrong := delivery.stuck(run, self._clock())):
            forced = "removed finalizers by --force-cleanup: " if isinstance(command, Release) else ""
            _log.warning("%s%s", forced, wrong)

    async def _first_resume(self, run_id: str) -> None:
        """Give Argo the moment that it takes to store a measurement: what is read then stays as it is.

        Read before, the AnalysisRun would have to be read again for the mark, which goes to the version read.
        """
        awaited = self._unresumed[run_id] = anyio.Event()
        with anyio.move_on_after(_STORED_S):
            await awaited.wait()
        self._unresumed.pop(run_id, None)

    async def _there(self, spec: Spec, *, begins: bool) -> Cluster:
        if not spec.endpoint:
            return await self._clusters.home()
        namespace = spec.analysis_run.metadata.namespace
        return await self._clusters.endpoint(spec.endpoint, namespace, spec.credentials, begins=begins)

    async def _cluster_of(self, watch: Watch) -> Cluster:
        if not watch.endpoint:
            return await self._clusters.home()
        return await self._clusters.endpoint(watch.endpoint, watch.credentials_namespace, watch.credentials)

    def _observe(self, watch: Watch, *events: WatchEvent) -> None:
        self._apply(self._registry.observe(self._clock(), watch, *events))


def _patch_in(spec: Spec) -> Access:
    return Access("patch", "argoproj.io", "analysisruns", spec.analysis_run.metadata.namespace)
