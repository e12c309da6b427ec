"""The registry of runs: every call, observation and tick goes in here, and commands come out.

Synchronous and without a clock, so that every order of events can be tested without time or network.
Each entry moves the runs concerned by `stages.advance` until nothing changes any more, and returns
what is to be performed; `watch_changes()` says what is to be watched, `next_deadline()` when to tick.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from chaosplugin.core import delivery, ledger, outcomes, sightings, stages
from chaosplugin.core.analysis import Measurement
from chaosplugin.core.announcements import Announcement, news
from chaosplugin.core.answers import measurement
from chaosplugin.core.commands import Command, LedgerRead, Outcome, ReadLedger
from chaosplugin.core.conclusion import conclude
from chaosplugin.core.deadlines import Deadlines
from chaosplugin.core.interests import Interests, Watch
from chaosplugin.core.objects import AnalysisRun, ChaosObject, Event
from chaosplugin.core.progress import Concluded, Defect, Progress, Transition
from chaosplugin.core.run import SINCE, Run, Spec, Stage
from chaosplugin.core.tombstones import Tombstones
from chaosplugin.core.topics import (
    AnalysisRunsTopic,
    Applied,
    ChildrenTopic,
    Deleted,
    OthersTopic,
    PodsTopic,
    WatchEvent,
)
from chaosplugin.core.turns import Turns
from chaosplugin.core.verdict import Finding, Reason
from chaosplugin.core.views import Views


class Registry:
    """All runs of this process; `by` is a word unlike any other process's.

    An error in the work for one does not reach the others.
    """

    def __init__(self, by: str) -> None:
        self._by = by
        self._turns = Turns()
        self._runs: dict[str, Run] = {}
        self._views = Views()
        self._interests = Interests()
        self._queued: dict[str, None] = {}  # ids of runs that wait for their ReplicaSet, in their order
        self._of_analysis_run: dict[str, dict[str, None]] = {}  # ids by the uid of the AnalysisRun
        self._deadlines = Deadlines(self._runs)
        self._tombstones = Tombstones(self._runs)
        self.progress: list[Progress] = []
        """what has happened since the owner last emptied it"""
        self.announcements: list[Announcement] = []
        """what people are to be told, likewise"""
        self.defects: list[Defect] = []
        """likewise"""

    # -- calls -----------------------------------------------------------------------------------

    def start(
        self,
        now: datetime,
        spec: Spec,
        found: AnalysisRun,
        *,
        errors: int,
        given: Measurement | None = None,
        sampled: bool = False,
        push: bool | None = None,
        told: tuple[LedgerRead, timedelta] | None = None,
    ) -> list[Command]:
        """Begin the run of this intent, unless it has been begun; `found` is the call's AnalysisRun.

        `given` is a Resume's measurement, which tells of its beginning; `push` as for `allow`, where known;
        `told` the ledger, where it needs not be read, with the offset as for `outcome`. Then the run is first
        looked at by `answer` or `terminate`, or as soon as its watches, which are known by now, tell of it.
        A retry after an Error begins anew, or, where another process has begun it, is restored; a copy of the
        call that got the Error is neither.
        """
        known = self._runs.get(spec.id)
        retried = known is not None and known.error and errors > known.errors
        if known is not None and not retried:
            return self._advance(now, [known]) if sightings.adopt_first(known, found, now) else []
        run = Run(
            spec=spec,
            errors=errors,
            started_at=now,
            asked_at=now,
            begun_at=given.started_at if given else None,
            restored=given is not None,
            resumed=given is not None,
            push=push,
            by=self._by,
            sampled=sampled,
            one_shot=spec.one_shot,
            rules=spec.rules,
            dry_run=spec.dry_run,
            family=spec.family() if spec.family else None,
        )
        run.value = spec.value
        run.shown = found.metadata.label(ledger.GATE) is not None
        if given is not None:
            run.since = given.metadata.get(SINCE)
        else:
            run.since = "" if spec.endpoint else found.metadata.resource_version
        sightings.adopt_first(run, found, now)
        if known is not None:
            self._turns.drop(known)
        self._runs[spec.id] = run
        self._of_analysis_run.setdefault(spec.identity.analysis_run_uid, {})[spec.id] = None
        self._interests.drop(spec.id)
        if told is not None and run.stage is Stage.RESTORING:
            self._restore(run, now, *told)
            return []
        return self._advance(now, [run])

    def answer(
        self, now: datetime, run_id: str, given: Measurement | None = None
    ) -> tuple[Measurement, list[Command]]:
        """Answer Run (nothing given) or Resume from memory."""
        run = self._runs[run_id]
        run.begun_at, run.asked_at = given.started_at if given else run.begun_at, now
        resumed, answered = run.resumed or given is not None, run.settled(now)
        commands: list[Command] = []
        if (resumed, answered) != (run.resumed, run.answered) or run.stage is not run.told:
            run.resumed, run.answered = resumed, answered
            commands = self._advance(now, [run])
        return measurement(run, now, given), commands

    def terminate(
        self, now: datetime, run_id: str, why: str, given: Measurement
    ) -> tuple[Measurement, list[Command]]:
        """End a gate early, and answer; one with a verdict keeps it."""
        run = self._runs[run_id]
        run.begun_at = given.started_at
        if run.verdict is None:
            self._decide(run, Finding(reason=Reason.TERMINATED, text=f"the gate ended early: {why}"), now)
        run.resumed = run.answered = True
        commands = self._advance(now, [run])  # after which the run may be forgotten
        return measurement(run, now, given, final=True), commands

    def allow(self, now: datetime, run_id: str, *, push: bool) -> list[Command]:
        """Take in whether the AnalysisRun may be patched."""
        run = self._runs.get(run_id)
        if run is None:
            return []
        run.push = push
        return self._advance(now, [run])

    # -- what comes back ---------------------------------------------------------------------------

    def outcome(
        self, now: datetime, command: Command, outcome: Outcome, offset: timedelta | None = None
    ) -> list[Command]:
        """Take in what came of a command; `offset` is the API server's clock minus ours."""
        run = self._runs.get(command.run)
        if run is None or type(command) not in run.pending:  # of a run that a retry has replaced
            return []
        if offset is not None:
            run.offset = offset
        try:
            store = self._views.pods(self._interests.of(run))
            finding = stages.absorb(run, command, outcome, store, now)
            if finding and run.verdict is None:
                self._decide(run, finding, now)
        except Exception as error:  # noqa: BLE001  as in _advance
            self._contain(run, error, now)
        return self._advance(now, [run])

    def _restore(self, run: Run, now: datetime, found: LedgerRead, offset: timedelta) -> None:
        """Take in the ledger, and find out what is to be watched."""
        run.offset = offset
        try:
            finding = outcomes.absorb(run, ReadLedger(run.spec.id), found, now)
            if finding and run.verdict is None:
                self._decide(run, finding, now)
        except Exception as error:  # noqa: BLE001  as in _advance
            self._contain(run, error, now)
        self._interests.of(run)

    def observe(self, now: datetime, watch: Watch, *events: WatchEvent) -> list[Command]:
        """Take in events of a watch, in their order."""
        if not self._interests.wants(watch):  # its end is under way
            return []
        concerned = {run.spec.id: run for event in events for run in self._take(now, watch, event)}
        return self._advance(now, concerned.values())

    def _take(self, now: datetime, watch: Watch, event: WatchEvent) -> Iterable[Run]:
        """Take in one event; return the runs that it concerns."""
        topic = type(watch.topic)
        try:
            shows = self._views.take(watch, event)
            if topic is AnalysisRunsTopic or topic is OthersTopic:
                self._turns.take(watch, event)
        except Exception as error:  # noqa: BLE001  as in _advance; what was told is lost to all of them
            for run in (followers := self._followers(watch)):
                self._contain(run, error, now)
            return followers
        if topic is not PodsTopic and (type(event) is Applied or type(event) is Deleted):
            gone = type(event) is Deleted
            return () if topic is OthersTopic else self._take_object(now, watch, event.object, gone=gone)
        if topic is OthersTopic:
            return [run for run in self._followers(watch) if run.stage is Stage.PROVING]
        return self._followers(watch) if shows else ()

    def _followers(self, watch: Watch) -> list[Run]:
        return [self._runs[run_id] for run_id in self._interests.followers(watch)]

    def _take_object(self, now: datetime, watch: Watch, thing: object, *, gone: bool) -> list[Run]:
        concerned: list[Run] = []
        for run in self._concerned(watch, thing):
            try:
                if self._see(run, now, watch, thing, gone=gone):
                    concerned.append(run)
            except Exception as error:  # noqa: BLE001  as in _advance
                self._contain(run, error, now)
                concerned.append(run)
        return concerned

    def _see(self, run: Run, now: datetime, watch: Watch, thing: object, *, gone: bool) -> bool:
        """Take in what an object tells of a run; returns whether it does."""
        finding: Finding | None = None
        match thing:
            case AnalysisRun() if thing.metadata.uid == run.spec.identity.analysis_run_uid:
                finding = sightings.see_analysis_run(run, None if gone else thing, now)
            case ChaosObject() if type(watch.topic) is ChildrenTopic:
                return sightings.see_child(run, thing, gone=gone)
            case ChaosObject() if self._is_experiment_of(run, thing):
                see = sightings.see_experiment_gone if gone else sightings.see_experiment
                see(run, thing)
            case ChaosObject() if not gone and sightings.is_unexpected(run, thing):
                finding = sightings.meet(run, thing, now)
            case Event() if run.is_about(thing.involved_object.uid):
                run.selection_failure = thing.message
            case _:
                sightings.note_early(run, thing, gone=gone)
                return False
        if finding and run.verdict is None:
            self._decide(run, finding, now)
        return True

    def _concerned(self, watch: Watch, thing: object) -> Iterable[Run]:
        """Return the few runs that an object may be about; all, where nothing in it tells."""
        match thing:
            case AnalysisRun():
                ids = tuple(self._of_analysis_run.get(thing.metadata.uid, ()))
            case ChaosObject() if (run_id := thing.metadata.label(ledger.RUN) or "") in self._runs:
                ids = (run_id,)
            case _:
                return self._followers(watch)
        return [self._runs[run_id] for run_id in ids if watch in self._interests.of(self._runs[run_id])]

    @staticmethod
    def _is_experiment_of(run: Run, experiment: ChaosObject) -> bool:
        """Only the very object that was created or adopted; another of its name is not ours."""
        known = run.experiment
        return known is not None and known.metadata.uid == experiment.metadata.uid

    def tick(self, now: datetime) -> list[Command]:
        """Look at every run whose time has come."""
        return self._advance(now, self._deadlines.take_due(now))

    # -- what is wanted ------------------------------------------------------------------------------

    def next_deadline(self) -> datetime | None:
        """Return when to tick."""
        return self._deadlines.next()

    def watch_changes(self) -> Mapping[Watch, bool]:
        """Return what is to be watched, or not any more, since the last call."""
        for watch, wanted in (changes := self._interests.take_changes()).items():
            if not wanted:
                self._views.drop(watch)
                self._turns.close(watch)
        return changes

    def run(self, run_id: str) -> Run | None:
        return self._runs.get(run_id)

    def attends(self, run_id: str) -> bool:
        """Tell whether a run is known, and not done with."""
        run = self._runs.get(run_id)
        return run is not None and run.stage is not Stage.DONE

    @property
    def runs(self) -> Mapping[str, Run]:
        return self._runs

    # -- moving --------------------------------------------------------------------------------------

    def _advance(self, now: datetime, runs: Iterable[Run]) -> list[Command]:
        """Move runs until they stand still; a canary that becomes free wakes those that queue for it."""
        commands: list[Command] = []
        agenda = deque(runs) or deque(self._next(now))
        moved: dict[str, Run] = {}
        while agenda:
            run = agenda.popleft()
            moved[run.spec.id] = run
            before = run.stage
            try:
                commands += self._step(run, now)
            except Exception as error:  # noqa: BLE001  the boundary: a defect in one gate must not end the others
                self._contain(run, error, now)
            if run.stands and run.decided_here and not run.concluded:
                run.concluded = True
                self.progress.append(Concluded(run))
            if run.stage is not run.told:
                self.progress.append(Transition(run=run, before=run.told, after=run.stage, at=now))
                self._count_in(run)
            if run.stage is not before:
                agenda.append(run)
            if not agenda:
                agenda += self._next(now)
        self._forget(now, moved.values())
        return commands

    def _step(self, run: Run, now: datetime) -> list[Command]:
        """Look at a run once."""
        watches = self._interests.of(run)
        self._views.gather(run, watches)
        pods, lost = self._views.pods(watches), self._views.chaos_lost(run, watches)
        turn = self._turns.of(run, self._runs, watches, now)
        step = stages.advance(run, pods, now, turn=turn, chaos_lost=lost)
        if step.commands:
            run.pending |= {type(command) for command in step.commands}
        self._deadlines.set(run, step.look_at)
        if step.finding and run.verdict is None:
            self._decide(run, step.finding, now)
        self._interests.of(run)
        self.announcements += news(run, delivery.stuck(run, now))
        self._turns.see(run)
        return step.commands

    def _contain(self, run: Run, error: Exception, now: datetime) -> None:
        """End the gate that an error of ours has met; one whose end fails, too, is left to the sweep."""
        self.defects.append(Defect(run, error))
        run.pending = frozenset()  # some of it may never have been handed out
        if run.verdict is None:
            self._decide(run, _of_defect(run, error), now)
        else:
            run.stage = Stage.DONE

    def _next(self, now: datetime) -> list[Run]:
        """Return the runs whose turn has come, or never will."""
        if not self._queued:
            return []
        queued = [run for run in map(self._runs.get, self._queued) if run and run.stage is Stage.QUEUED]
        turns = [(run, self._turns.of(run, self._runs, frozenset(), now)) for run in queued]
        stuck = [run for run, turn in turns if turn.holder and delivery.stuck(turn.holder, now)]
        return [*(run for run, turn in turns if not turn.taken), *stuck]

    def _count_in(self, run: Run) -> None:
        """Follow the stages of a run."""
        if run.stage is Stage.QUEUED:
            self._queued[run.spec.id] = None
        else:
            self._queued.pop(run.spec.id, None)
        run.told = run.stage
        if run.stage is Stage.DONE:
            self._tombstones.add(run)

    @staticmethod
    def _decide(run: Run, finding: Finding, now: datetime) -> None:
        run.verdict = conclude(run, finding, now)
        run.decided_at, run.decided_in, run.decided_here = now, run.stage, True
        if run.stage is Stage.RESTORING and not run.error:
            run.create_sent = True  # by an earlier process, perhaps: it has to be looked for
        run.stage, run.retry_at = Stage.DECIDED, None

    def _forget(self, now: datetime, moved: Iterable[Run]) -> None:
        """Drop the runs that nobody will ask for any more."""
        for run in moved:
            self._tombstones.see(run, now)
        for old in self._tombstones.take_old(now):
            self._drop(old)

    def _drop(self, run: Run) -> None:
        self._turns.drop(run)
        self._runs.pop(run.spec.id, None)
        self._queued.pop(run.spec.id, None)
        self._interests.drop(run.spec.id)
        _take_out(self._of_analysis_run, run.spec.identity.analysis_run_uid, run.spec.id)


def _of_defect(run: Run, error: Exception) -> Finding:
    """Judge a gate that an error of this program has met: whether its fault was on says the cluster only."""
    text = f"an error of chaosplugin itself ended the gate of {run.spec.subject}"
    return Finding(
        reason=Reason.INTERNAL_ERROR,
        text=f"{text} ({type(error).__name__}: {error}); report it with the traceback in the plugin's log",
    )


def _take_out(index: dict[str, dict[str, None]], key: str, run_id: str) -> None:
    index.get(key, {}).pop(run_id, None)
    if not index.get(key, True):
        del index[key]
