"""`chaosplugin serve` as processes of their own, beside a sandbox in the test's loop."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio

from chaosplugin.core.policy import Policy
from chaosplugin.sandbox.api import resources
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, rule
from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.api.store import Change
from chaosplugin.transport.bridge import BridgeProvider
from chaosplugin.transport.grpc.addresses import Target, parse
from chaosplugin.transport.grpc.channel import Channel
from tests.provider import gate as gates
from tests.provider.gate import Gate, clock, gate
from tests.realbed.processes import free_port

SERVER_ROLE = (
    rule("get list watch create update patch delete", "", "configmaps"),
    rule("create", "authentication.k8s.io", "tokenreviews"),
)
"""What a server needs beyond the plugin's rights."""


def config(experiment: object = None, **settings: object) -> Object:
    """As `gate.config`, with patience for a machine on which much is going on."""
    return gates.config(experiment, **{"timeout": "60s", **settings})


class Served:
    """A sandbox, and the servers that were started for it."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        self.kubeconfig = str(gate.cluster.kubeconfig(ARGO_ROLLOUTS))
        self.created = 0
        """experiments, also those that are gone"""
        gate.cluster.store.listen(self._count, resources.POD_CHAOS)

    def _count(self, change: Change) -> None:
        self.created += change.type == "ADDED"

    @asynccontextmanager
    async def server(self, name: str = "a", options: Sequence[str] = ()) -> AsyncIterator["Server"]:
        """Start a server at a unix socket of this name, and end it."""
        server = Server(self, name, options)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()


class Server:
    def __init__(self, served: Served, name: str, options: Sequence[str] = ()) -> None:
        self.socket = served.folder / f"{name}.sock"
        self.log = served.folder / f"{name}.log"
        self._options = options
        self._kubeconfig = served.kubeconfig
        self.process: anyio.abc.Process | None = None

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    async def start(self) -> None:
        """Start it, and wait until it says that it serves."""
        command = [sys.executable, "-m", "chaosplugin", "serve", "--listen", self.address]
        command += ["--kubeconfig", self._kubeconfig, "--log-level", "debug", *self._options]
        kept = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
        with self.log.open("a") as log:
            before = log.tell()
            self.process = await anyio.open_process(command, stdout=subprocess.DEVNULL, stderr=log, env=kept)
        await self.said("serving at", before)

    async def said(self, text: str, after: int = 0, seconds: float = 60) -> None:
        """Wait until its log says this. Raises: TimeoutError."""
        with anyio.fail_after(seconds):
            while text not in self.log.read_text()[after:]:
                assert self.process is not None
                assert self.process.returncode is None, self.log.read_text()
                await anyio.sleep(0.02)

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """End it in this way, unless it has ended; return its status."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        with anyio.CancelScope(shield=True), anyio.fail_after(30):
            await self.process.wait()
        return self.process.returncode or 0

    async def end(self) -> int:
        """End it as Kubernetes does."""
        return await self.kill(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)


@asynccontextmanager
async def served(folder: Path, policy: Policy | None = None) -> AsyncIterator[Served]:
    async with gate(folder, policy) as bed:
        bed.cluster.access.grant(ARGO_ROLLOUTS, SERVER_ROLE)
        yield Served(bed, folder)


@asynccontextmanager
async def one_address(*servers: Server) -> AsyncIterator[str]:
    """Give an address behind which all of them are, as a Service of Kubernetes does: any that answers."""

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            for server in random.sample(servers, len(servers)):  # whoever comes gets either
                with suppress(OSError):
                    async with await anyio.connect_unix(server.socket) as there:
                        async with anyio.create_task_group() as tasks:
                            tasks.start_soon(_pass_on, stream, there, tasks)
                            tasks.start_soon(_pass_on, there, stream, tasks)
                        return

    port = free_port()
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"127.0.0.1:{port}"
        tasks.cancel_scope.cancel()


async def _pass_on(
    source: anyio.abc.ByteStream, to: anyio.abc.ByteStream, tasks: anyio.abc.TaskGroup
) -> None:
    """Until either ends, and with it the connection."""
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        async for data in source:
            await to.send(data)
    tasks.cancel_scope.cancel()


@asynccontextmanager
async def bridge(target: str | Target) -> AsyncIterator[BridgeProvider]:
    """The provider of the exec'ed end, in the test's loop."""
    channel = Channel(target if isinstance(target, Target) else Target(parse(target)))
    try:
        yield BridgeProvider(channel, clock)
    finally:
        await channel.close()
