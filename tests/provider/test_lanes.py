"""Thousands of gates begin some at a time, and what concerns a fault waits for none of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from chaosplugin.core.commands import Command, Find, ReadLedger, ReadScope
from chaosplugin.core.run import Run, Stage
from chaosplugin.core.steady_state import Rules
from chaosplugin.provider.lanes import WIDTH, Lanes
from tests.core.given import START, make_spec


def gate(stage: Stage = Stage.RESTORING, endpoint: str = "") -> Run:
    return Run(
        spec=make_spec(endpoint=endpoint),
        errors=0,
        started_at=START,
        asked_at=START,
        restored=False,
        stage=stage,
        one_shot=False,
        rules=Rules(),
    )


@dataclass
class Bed:
    """Lanes whose commands go on until they are let go."""

    lanes: Lanes = field(init=False)
    begun: list[Command] = field(default_factory=list)
    ended: int = 0
    gates: list[anyio.Event] = field(default_factory=list)

    async def perform(self, command: Command) -> None:
        self.begun.append(command)
        self.gates.append(anyio.Event())
        await self.gates[-1].wait()
        self.ended += 1

    def end_all(self) -> None:
        for each in self.gates:
            each.set()


@asynccontextmanager
async def a_bed() -> AsyncIterator[Bed]:
    bed = Bed()
    async with anyio.create_task_group() as tasks:
        bed.lanes = Lanes(tasks, bed.perform)
        yield bed
        tasks.cancel_scope.cancel()


async def test_so_many_begin_at_a_time_and_those_that_are_farthest_first() -> None:
    async with a_bed() as bed:
        for number in range(WIDTH + 2):
            bed.lanes.start(ReadLedger(f"{number}"), gate())
        bed.lanes.start(ReadScope("farther", frozenset()), gate(Stage.PROVING))
        await anyio.wait_all_tasks_blocked()
        first = len(bed.begun)
        bed.gates[0].set()
        await anyio.wait_all_tasks_blocked()
        late = [command.run for command in bed.begun[WIDTH - 1 :]]
        while bed.ended < WIDTH + 3:
            bed.end_all()
            await anyio.wait_all_tasks_blocked()

        assert first == WIDTH
        assert "farther" in {command.run for command in bed.begun[: WIDTH + 1]}
        assert len(late) == 2
        assert len(bed.begun) == len({command.run for command in bed.begun}) == WIDTH + 3


async def test_neither_a_fault_nor_another_cluster_waits_for_those_that_begin() -> None:
    async with a_bed() as bed:
        for number in range(WIDTH + 1):
            bed.lanes.start(ReadLedger(f"{number}"), gate())
        bed.lanes.start(Find("on"), gate(Stage.OBSERVING))
        bed.lanes.start(ReadLedger("elsewhere"), gate(endpoint="https://api.example.com"))
        await anyio.wait_all_tasks_blocked()

        assert {"on", "elsewhere"} <= {command.run for command in bed.begun}
        assert len(bed.begun) == WIDTH + 2
