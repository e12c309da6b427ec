"""A host of gates that only tells what it is told, behind a real server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import anyio

from chaosplugin.core.feed import SIZE, Feed
from chaosplugin.core.gates import Gate
from chaosplugin.transport.grpc import gates, server
from chaosplugin.transport.grpc.addresses import Listening
from chaosplugin.transport.grpc.dispatch import handlers
from tests.core.test_feed import event

if TYPE_CHECKING:
    from chaosplugin.provider.gates import Gates


class Feeding:
    """As much of `Gates` as a watch uses."""

    def __init__(self, size: int = SIZE) -> None:
        self.feed = Feed("x", size)
        self._gates: dict[str, Gate] = {}
        self._changed = anyio.Event()

    def live(self) -> list[Gate]:
        return list(self._gates.values())

    async def find(self, namespace: str, gate_id: str) -> Gate | None:
        return next((gate for gate in self.live() if gate.id == gate_id), None)

    async def news(self, place: int) -> None:
        while self.feed.place <= place:
            await self._changed.wait()

    def step(self, number: int, namespace: str = "default", message: str = "") -> None:
        """Tell of a step of the gate of this number."""
        made = event(number)
        made = replace(made, gate=replace(made.gate, namespace=namespace, message=message))
        self._gates[made.gate.id] = made.gate
        self.feed.put(made)
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def feeding(listening: Listening, size: int = SIZE) -> AsyncIterator[tuple[Feeding, gates.GateMethods]]:
    fed = Feeding(size)
    methods = gates.GateMethods(cast("Gates", fed), lambda: None)
    bound = handlers(gates.SERVICE, server.callers(listening, None), methods.by_name, gates.MOST)
    async with (
        server.serving(listening, [bound], [gates.SERVICE.full_name]) as running,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(methods.run)
        running.set_ready()
        yield fed, methods
        tasks.cancel_scope.cancel()
