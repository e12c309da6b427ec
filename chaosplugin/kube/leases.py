"""A Lease (coordination.k8s.io): which of several processes has its turn.

Time is the API server's, as far as its answers tell it, so that the clocks of the nodes do not matter.
"""

from datetime import UTC, datetime, timedelta

import msgspec

from chaosplugin.core.moments import usable
from chaosplugin.core.objects import Metadata
from chaosplugin.kube import resources
from chaosplugin.kube.session import Request, Session
from chaosplugin.kube.verbs import Verbs
from chaosplugin.provider.ports import AlreadyExists, Conflict, NotFound

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"  # metav1.MicroTime


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    renew_time: datetime | None = None

    @property
    def until(self) -> datetime:
        """When it ends; long ago, where it tells no time that anybody can have renewed it at."""
        renewed = usable(self.renew_time)
        if renewed is None:
            return datetime.min.replace(tzinfo=UTC)
        return renewed + timedelta(seconds=self.lease_duration_seconds or 0)


class _Lease(msgspec.Struct):
    metadata: Metadata
    spec: _Spec = msgspec.field(default_factory=_Spec)


class Lease:
    """One Lease, and who we are. Every method raises ClusterError."""

    def __init__(self, session: Session, namespace: str, name: str, holder: str) -> None:
        self._session = session
        self._verbs = Verbs(session)
        self._namespace, self._name, self._holder = namespace, name, holder

    async def take(self, now: datetime, lasting: timedelta) -> bool:
        """Take it, or have it for longer; False while it is another's."""
        found = await self._read()
        now += self._session.clock_offset
        if found is None:
            return await self._write("POST", now, lasting)
        spec = found.spec
        if spec.holder_identity and spec.holder_identity != self._holder and now < spec.until:
            return False
        return await self._write("PUT", now, lasting, found.metadata.resource_version)

    async def give_back(self, now: datetime) -> None:
        """Let others have it at once, if it is ours."""
        found = await self._read()
        if found is not None and found.spec.holder_identity == self._holder:
            await self._write("PUT", now, timedelta(seconds=1), found.metadata.resource_version, holder="")

    async def _read(self) -> _Lease | None:
        try:
            return await self._verbs.read(resources.LEASES, self._namespace, self._name, _Lease)
        except NotFound:
            return None

    async def _write(
        self, method: str, now: datetime, lasting: timedelta, version: str = "", holder: str | None = None
    ) -> bool:
        """Write it as read; whoever was quicker has it."""
        metadata = {"name": self._name, "namespace": self._namespace}
        if version:
            metadata["resourceVersion"] = version
        spec = {
            "holderIdentity": self._holder if holder is None else holder,
            "leaseDurationSeconds": int(lasting.total_seconds()),
            "renewTime": now.astimezone(UTC).strftime(_FORMAT),
        }
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }
        path = resources.LEASES.path(self._namespace, self._name if method == "PUT" else "")
        request = Request(method=method, path=path, what=f"take {self._what}", body=msgspec.json.encode(body))
        try:
            await self._session.send(request)
        except (Conflict, AlreadyExists):
            return False
        return True

    @property
    def _what(self) -> str:
        return f"Lease {self._namespace}/{self._name}"
