"""grpc.health.v1, as far as it is used: by probes, by clients that choose a server, by a host's Ping."""

from collections.abc import AsyncIterator, Iterable, Mapping

import anyio
import grpc
from grpc_health.v1 import health_pb2 as pb

from chaosplugin.transport.grpc.callers import Caller
from chaosplugin.transport.grpc.dispatch import Streaming, Unary
from chaosplugin.transport.grpc.status import Rejected

SERVICE = pb.DESCRIPTOR.services_by_name["Health"]


class HealthMethods:
    """How the services of these names are; "" is the whole. All are as the whole is."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._status: pb.HealthCheckResponse.ServingStatus = pb.HealthCheckResponse.NOT_SERVING
        self._changed = anyio.Event()

    @property
    def by_name(self) -> Mapping[str, Unary | Streaming]:
        return {"Check": self.check, "List": self.list, "Watch": self.watch}

    def set(self, *, serving: bool) -> None:
        """Say SERVING, or NOT_SERVING."""
        self._status = pb.HealthCheckResponse.SERVING if serving else pb.HealthCheckResponse.NOT_SERVING
        self._changed.set()
        self._changed = anyio.Event()

    async def check(self, request: pb.HealthCheckRequest, _: Caller) -> pb.HealthCheckResponse:
        if request.service not in self._names:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:253]}")
        return pb.HealthCheckResponse(status=self._status)

    async def list(self, _: pb.HealthListRequest, __: Caller) -> pb.HealthListResponse:
        each = pb.HealthCheckResponse(status=self._status)
        return pb.HealthListResponse(statuses=dict.fromkeys(self._names, each))

    async def watch(self, request: pb.HealthCheckRequest, _: Caller) -> AsyncIterator[bytes]:
        known = request.service in self._names
        while True:
            changed = self._changed
            status = self._status if known else pb.HealthCheckResponse.SERVICE_UNKNOWN
            yield pb.HealthCheckResponse(status=status).SerializeToString()
            await changed.wait()
