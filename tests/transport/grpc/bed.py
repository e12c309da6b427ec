"""A server in the test's loop, over a provider that remembers what it was asked."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun, Metadata
from chaosplugin.transport._pb import metric_provider_pb2 as pb
from chaosplugin.transport.documents import write_analysis_run, write_metric
from chaosplugin.transport.grpc import metrics, server
from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from chaosplugin.transport.grpc.callers import Callers
from chaosplugin.transport.grpc.channel import Channel
from chaosplugin.transport.grpc.dispatch import handlers
from tests.realbed import pki
from tests.realbed.processes import free_port
from tests.transport.test_rollouts import Remembering

METRIC = Metric(name="chaos", plugin={"chaosplugin/chaos-mesh": b'{"a": 1}'})


def analysis_run(namespace: str = "default") -> AnalysisRun:
    return AnalysisRun(metadata=Metadata(name="web-1", namespace=namespace, uid="1"))


def local() -> Address:
    return Address(host="127.0.0.1", port=free_port())


class Authority:
    """A CA, and files that a server or a client shows."""

    def __init__(self, folder: Path) -> None:
        pki.make(folder)
        self.folder = folder
        self.ca = str(folder / "ca.crt")
        self.server: dict[str, Any] = {"certificate": str(folder / "tls.crt"), "key": str(folder / "tls.key")}

    def client(self, name: str) -> dict[str, Any]:
        pki.make_client(self.folder, name)
        return {
            "certificate": str(self.folder / f"{name}.crt"),
            "key": str(self.folder / f"{name}.key"),
            "ca": self.ca,
        }

    def replace_by(self, other: "Authority") -> None:
        """Put another's files in the place of ours, as a renewed Secret does."""
        for file in other.folder.iterdir():
            shutil.copy(file, self.folder / f".{file.name}")
            (self.folder / f".{file.name}").replace(self.folder / file.name)


@asynccontextmanager
async def serving(listening: Listening, tokens: Callers | None = None) -> AsyncIterator[Remembering]:
    provider = Remembering(Measurement(phase=Phase.RUNNING))
    methods = metrics.MetricMethods(provider, lambda: None).by_name
    bound = handlers(metrics.SERVICE, server.callers(listening, tokens), methods)
    async with server.serving(listening, [bound], [metrics.SERVICE.full_name]) as running:
        running.set_ready()
        yield provider


@asynccontextmanager
async def channel(target: Target) -> AsyncIterator[Channel]:
    made = Channel(target)
    try:
        yield made
    finally:
        await made.close()


async def run(made: Channel, namespace: str = "default", within_s: float = 10) -> pb.RunResponse:
    request = pb.RunRequest(
        analysis_run=write_analysis_run(analysis_run(namespace)), metric=write_metric(METRIC)
    )
    path = "/chaosplugin.v1.MetricProviderService/Run"
    return await made.unary(path, request, pb.RunResponse.FromString, within_s=within_s)


def allowed(*entries: str, authority: Authority, address: Address, **more: Any) -> Listening:
    given: dict[str, Any] = {"allowed": entries, "client_ca": authority.ca, **authority.server, **more}
    return Listening(addresses=(address,), **given)
