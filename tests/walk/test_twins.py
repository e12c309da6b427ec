"""Two live plugins on the same gates, as while leadership goes from one controller to another.

Each has its own controller, and none of them dies: it may only stand still for a while, as a process of a
machine that is frozen, and go on as if nothing had happened. Whatever comes between, each intent is one
experiment, its first verdict is the answer, nothing is left, and one of the two has counted the gate.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from chaosplugin.core import ledger
from chaosplugin.sandbox.api.faults import Fault
from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, Object
from chaosplugin.sandbox.api.store import Change
from tests.e2e.manifests import PLUGIN, POD_FAILURE
from tests.observability.judges import free_ports
from tests.serving.test_telemetry import counted
from tests.telemetry.test_http import get
from tests.walk.bed import Bed, Controller, bed
from tests.walk.gate import CHAOS, Gate, forms, metric, settle
from tests.walk.test_restart import of_host

SURVIVED = ("Successful", "Survived")
BROKEN = ("Failed", "SteadyStateBroken")
FORMS = forms("6s", every="8s", each="5s")
"""One fault of each, which lasts longer than a busy machine may take to begin it."""
SOON_OVER = ("podchaos", "workflow")
"""Forms that are judged before a controller takes a frozen plugin for dead, which is after 40 s."""


@dataclass(frozen=True)
class Twin:
    """A controller with its plugin, which tells at this address what it has counted."""

    control: Controller
    address: str

    def freeze(self) -> None:
        """Let the plugin stand still in the midst of whatever it does."""
        os.kill(self.control.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.control.pid, signal.SIGCONT)

    async def at_rest(self) -> bool:
        """Tell whether nothing is left to be done, of all that it knows of."""
        try:
            _, _, page = await get(f"http://{self.address}/debug/runs")
        except aiohttp.ClientError:
            return True  # taken for dead while it was frozen
        return all(run["stage"] == "done" for run in json.loads(page)["runs"])


class Twins:
    """A bed with gates of each form, at which the twins work."""

    def __init__(self, there: Bed, name: str) -> None:
        self.bed = there
        self.name = name
        self.gates: list[Gate] = []
        self.all: list[Twin] = []

    async def begin(self) -> Twin:
        """Start a controller with its plugin."""
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        self.all.append(Twin(await self.bed.begin("--metrics-address", address), address))
        return self.all[-1]

    async def deploy(self, *wanted: str, config: Object | None = None, **changes: Any) -> list[Gate]:
        """Deploy a gate of each of these forms, and begin its canary."""
        self.gates = [Gate(self.bed, f"{self.name}-{form}") for form in wanted or FORMS]
        for gate, form in zip(self.gates, wanted or FORMS, strict=True):
            asked = FORMS[form]["provider"]["plugin"][PLUGIN]
            gate.deploy(metric(config=asked | (config or {}), **changes))
        return self.gates

    async def roll(self) -> None:
        await self.bed.until("first versions are healthy", lambda: all(gate.healthy for gate in self.gates))
        for gate in self.gates:
            gate.begin()

    async def until(self, what: str, holds: Callable[[Gate], object], seconds: float = 90) -> None:
        await self.bed.until(what, lambda: all(holds(gate) for gate in self.gates), seconds)

    def hold_one(self, verb: str, resource: str) -> list[Fault]:
        """Let the next such request for each gate be under way until `arrive`."""
        faults = self.bed.cluster.faults
        return [faults.hold(gate.asks(verb, resource)) for gate in self.gates]

    async def sent(self, held: list[Fault]) -> None:
        with anyio.fail_after(60):
            while any(fault.left for fault in held):
                await anyio.sleep(0.01)  # a request that is held changes nothing in the cluster

    @staticmethod
    def arrive(held: list[Fault]) -> None:
        for fault in held:
            assert fault.wait is not None
            fault.wait.set()

    def freeze_at(self, twin: Twin, prefix: str) -> Callable[[], bool]:
        """Freeze a twin as an annotation of each AnalysisRun is written, before it hears of the last one."""
        marked: set[str] = set()

        def hear(change: Change) -> None:
            notes = change.stored.metadata.get("annotations") or {}
            if any(key.startswith(prefix) for key in notes) and change.stored.namespace not in marked:
                marked.add(change.stored.namespace)
                if len(marked) == len(self.gates):
                    twin.freeze()
                    unlisten()

        unlisten = self.bed.cluster.store.listen(hear, ANALYSIS_RUNS)
        return lambda: len(marked) == len(self.gates)

    async def end(self, wanted: tuple[str, str] = SURVIVED, intents: int = 1) -> None:
        """Wait until all is over for both, and look at what they have done."""
        assert await settle(self.gates, 150) == []
        with anyio.fail_after(60):
            while not all([await twin.at_rest() for twin in self.all]):
                await anyio.sleep(0.1)  # what a process thinks is nowhere in the cluster
        assert await settle(self.gates) == []
        for gate in self.gates:
            self._look(gate, wanted, intents)
        found = []
        for twin in self.all:
            with suppress(aiohttp.ClientError):
                found.append(await counted(twin.address))
        assert sum(found, Counter()) == {wanted[1]: len(self.gates) * intents}, found
        for twin in self.all:
            await twin.control.stop()
        assert self.bed.socket_files == []

    def _look(self, gate: Gate, wanted: tuple[str, str], count: int) -> None:
        made = [each["metadata"]["labels"][ledger.RUN] for each in gate.created]
        assert len(made) == len(set(made)) == count, (made, gate.state)
        recorded = [json.loads(each) for each in gate.verdicts]
        assert len(recorded) == count, gate.verdicts
        (run,) = gate.runs
        assert run["status"]["phase"] == wanted[0], gate.state
        # a controller that was held up in a call may write Running over what is stored, as Argo's would; the
        # phase of the AnalysisRun stays
        told = {(each["phase"], each["message"]) for each in gate.measurements if _is_answer(each)}
        assert told <= {(each["phase"], each["message"]) for each in recorded}, (
            "the recorded one is the answer"
        )
        assert {(each["phase"], each["message"].partition(":")[0]) for each in recorded} == {wanted}


def _is_answer(measurement: Object) -> bool:
    """Tell whether a plugin has answered this, to the end of its gate."""
    error = measurement["phase"] == "Error"
    return measurement["phase"] != "Running" and not (error and of_host(measurement["message"]))


Story = Callable[[Twins], Awaitable[None]]


async def both_from_the_begin(twins: Twins) -> None:
    """Both are asked from the first Run to the last Resume."""
    await twins.begin()
    await twins.begin()
    await twins.deploy()
    await twins.roll()
    await twins.end()


async def both_at_the_mark_and_at_the_create(twins: Twins) -> None:
    await twins.begin()
    await twins.begin()
    await twins.deploy()
    for verb, resource in (("patch", "analysisruns"), ("create", CHAOS)):
        held = twins.hold_one(verb, resource) + twins.hold_one(verb, resource)
        if verb == "patch":
            await twins.roll()
        await twins.sent(held)  # the second one to create has found the first one's mark, and no experiment
        twins.arrive(held)
    await twins.end()


async def frozen_while_the_fault_is_on(twins: Twins) -> None:
    """The new leader's plugin brings it to its end; then the old one's goes on where it was."""
    old = await twins.begin()
    await twins.deploy()
    await twins.roll()
    await twins.until("experiments are there", lambda gate: gate.experiments)
    old.freeze()
    await twins.begin()
    await twins.until("the new one has ended them", lambda gate: gate.ended and not gate.experiments)
    old.thaw()
    await twins.end()


async def frozen_while_it_waits_for_its_targets(twins: Twins) -> None:
    """When it goes on its wait is over, and the new one's fault has the canary down."""
    old = await twins.begin()
    experiment = POD_FAILURE.format(duration="9s")
    await twins.deploy("podchaos", config={"chaosExperimentCRD": experiment, "targetTimeout": "4s"})
    proofs = twins.hold_one("get", "rollouts")
    await twins.roll()
    await twins.sent(proofs)
    for gate in twins.gates:
        gate.keep_down(down=True)
    twins.arrive(proofs)
    await twins.until("they have begun", lambda gate: gate.measurements)
    old.freeze()
    await anyio.sleep(16)  # past its deadline
    await twins.begin()
    for gate in twins.gates:
        gate.keep_down(down=False)
    await twins.until("the new one's faults are on", lambda gate: gate.injected)
    old.thaw()
    await twins.end()


async def frozen_once_it_has_marked(twins: Twins) -> None:
    """It was just about to create."""
    old = await twins.begin()
    await twins.deploy(*SOON_OVER)
    marked = twins.freeze_at(old, "chaosplugin.io/mark.")
    await twins.roll()
    await twins.until("they are marked", lambda _: marked())
    await twins.begin()
    await twins.until("the new one has ended them", lambda gate: gate.ended)
    old.thaw()
    await twins.end()


async def frozen_while_its_create_is_under_way(twins: Twins) -> None:
    """The create arrives when the new one has judged its own."""
    old = await twins.begin()
    await twins.deploy(*SOON_OVER)
    creates = twins.hold_one("create", CHAOS)
    await twins.roll()
    await twins.sent(creates)
    old.freeze()
    await twins.begin()
    await twins.until("the new one has ended them", lambda gate: gate.ended)
    twins.arrive(creates)
    old.thaw()
    await twins.end()


async def frozen_while_its_verdict_is_under_way(twins: Twins) -> None:
    """Its patch arrives when the new one's stands."""
    old = await twins.begin()
    await twins.deploy(*SOON_OVER)
    await twins.roll()
    await twins.until("they are marked", lambda gate: gate.marked and gate.experiments)
    verdicts = twins.hold_one("patch", "analysisruns")
    await twins.sent(verdicts)
    old.freeze()
    await twins.begin()
    await twins.until("the new one has ended them", lambda gate: gate.ended)
    twins.arrive(verdicts)
    old.thaw()
    await twins.end()


async def frozen_before_it_knows_that_its_verdict_stands(twins: Twins) -> None:
    old = await twins.begin()
    await twins.deploy(*SOON_OVER)
    recorded = twins.freeze_at(old, "chaosplugin.io/verdict.")
    await twins.roll()
    await twins.until("verdicts are recorded", lambda _: recorded())
    await twins.begin()
    await twins.until("the new one has ended them", lambda gate: gate.ended and not gate.experiments)
    old.thaw()
    await twins.end()


async def frozen_while_the_canary_falls(twins: Twins) -> None:
    """The new one fails it; when the old one goes on, the canary is as it ever was."""
    old = await twins.begin()
    await twins.deploy("podchaos", config={"steadyState": {"recoverWithin": "2s"}})
    await twins.roll()
    await twins.until("the faults are on", lambda gate: gate.injected)
    old.freeze()
    await twins.begin()
    for gate in twins.gates:
        gate.keep_down(down=True)
    await twins.until("the new one has a verdict", lambda gate: gate.recorded)
    for gate in twins.gates:
        gate.keep_down(down=False)
    old.thaw()
    await twins.end(BROKEN)


async def there_and_back(twins: Twins) -> None:
    """Leadership goes over in the first measurement, and comes back in the second."""
    old = await twins.begin()
    await twins.deploy("podchaos", "workflow", count=2, interval="1s")
    await twins.roll()
    await twins.until("experiments are there", lambda gate: gate.experiments)
    old.freeze()
    new = await twins.begin()
    await twins.until("the second measurement has begun", lambda gate: len(gate.created) == 2)
    new.freeze()
    old.thaw()
    await twins.until("the old one has ended them", lambda gate: gate.ended)
    new.thaw()
    await twins.end(intents=2)


STORIES: tuple[Story, ...] = (
    frozen_once_it_has_marked,
    frozen_while_its_create_is_under_way,
    both_from_the_begin,
    both_at_the_mark_and_at_the_create,
    frozen_while_it_waits_for_its_targets,
    frozen_while_the_fault_is_on,
    frozen_while_its_verdict_is_under_way,
    frozen_before_it_knows_that_its_verdict_stands,
    frozen_while_the_canary_falls,
    there_and_back,
)
"""Those that last longest first: a name stays taken for a minute."""
AT_A_TIME = 4
"""More would keep each other so busy that those who are frozen are taken for dead."""


@pytest.mark.timeout(500)
async def test_two_live_plugins_make_one_gate(tmp_path: Path) -> None:
    problems: list[str] = []
    room = anyio.Semaphore(AT_A_TIME)

    async def tell(story: Story) -> None:
        try:
            async with room, bed(tmp_path / story.__name__) as there:
                await story(Twins(there, story.__name__.replace("_", "-")))
        except* (AssertionError, TimeoutError) as group:  # the other stories go on
            problems.append(f"{story.__name__}: {group.exceptions}")

    async with anyio.create_task_group() as tasks:
        for story in STORIES:
            tasks.start_soon(tell, story)
    assert not problems, "\n".join(problems)
