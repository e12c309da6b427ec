"""A client of `chaosplugin serve`, for asyncio programs.

    async with connect("unix:///run/chaosplugin/socket") as client:
        gate = await client.start("default", "web", {"chaosExperimentCRD": {...}})
        async for update in client.watch(gate.namespace, gate.id):
            ...

A start may be repeated: without a name the client makes one up, so that a second try after an answer that was
lost finds the gate of the first. A watch goes on after a server's end, from where it was.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TypeVar

import anyio
import grpc
import msgspec
from google.protobuf.message import Message

from chaosplugin.core.analysis import Phase
from chaosplugin.core.gates import Gate, GateEvent
from chaosplugin.core.run import Stage
from chaosplugin.transport._pb import gates_pb2 as pb
from chaosplugin.transport.grpc.addresses import Target, parse
from chaosplugin.transport.grpc.channel import Channel
from chaosplugin.transport.grpc.status import retry_delay, violations

_SERVICE = "/chaosplugin.v1.GateService/"
_ANSWER_S = 20.0
_TRIES = 5
_PAUSE_S = 0.5
_NO_CONNECTION = "failed to connect"  # begins what gRPC says of it
_QUIET_S = 45.0  # three heartbeats
_AWAY_S = 10.0
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE})
_REPLACED_S = 120.0  # that a pod may take to end, and the next one to begin

A = TypeVar("A", bound=Message)


class ClientError(Exception):
    """The server did not do it. `code` is gRPC's word, `fields` says what is wrong with which field."""

    def __init__(self, code: str, message: str, fields: Mapping[str, str]) -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Update:
    """What a watch tells. A snapshot is how things are, in place of all that was told before."""

    events: Sequence[GateEvent]
    snapshot: bool = False
    missed: int = 0
    """events that this reader was too slow for; a snapshot follows them"""
    resume_token: str = ""


@asynccontextmanager
async def connect(target: str | Target) -> AsyncIterator["Client"]:
    """Use a server; no connection is made yet.

    Raises: addresses.BadAddress.
    """
    channel = Channel(target if isinstance(target, Target) else Target(parse(target)))
    try:
        yield Client(channel)
    finally:
        with anyio.CancelScope(shield=True):
            await channel.close()


class Client:
    """GateService of proto/. Every method raises ClientError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def start(
        self,
        namespace: str,
        rollout: str,
        config: Mapping[str, object],
        *,
        name: str = "",
        success_condition: str = "",
        failure_condition: str = "",
    ) -> Gate:
        """Start a gate; `config` is what would stand under the key of provider.plugin."""
        request = pb.StartGateRequest(
            namespace=namespace,
            rollout=rollout,
            name=name or f"gate-{secrets.token_hex(5)}",
            config=msgspec.json.encode(config),
            success_condition=success_condition,
            failure_condition=failure_condition,
        )
        again = _AWAY | {grpc.StatusCode.DEADLINE_EXCEEDED}  # else a fault may come that nobody follows
        return _gate((await self._ask("StartGate", request, pb.StartGateResponse.FromString, again)).gate)

    async def get(self, namespace: str, gate_id: str) -> Gate:
        request = pb.GetGateRequest(namespace=namespace, id=gate_id)
        return _gate((await self._ask("GetGate", request, pb.GetGateResponse.FromString)).gate)

    async def list(self, namespace: str = "") -> Sequence[Gate]:
        """Return all gates of a namespace, or all that may be seen, the latest first."""
        found: list[Gate] = []
        token = ""
        while True:
            request = pb.ListGatesRequest(namespace=namespace, page_token=token)
            answer = await self._ask("ListGates", request, pb.ListGatesResponse.FromString)
            found += map(_gate, answer.gates)
            token = answer.next_page_token
            if not token:
                return found

    async def terminate(self, namespace: str, gate_id: str) -> Gate:
        request = pb.TerminateGateRequest(namespace=namespace, id=gate_id)
        return _gate((await self._ask("TerminateGate", request, pb.TerminateGateResponse.FromString)).gate)

    async def watch(
        self, namespace: str = "", gate_id: str = "", *, resume_token: str = ""
    ) -> AsyncIterator[Update]:
        """Tell how gates are, then every step, until the caller leaves.

        Where a server has answered once, another one is waited for that replaces it, for two minutes.
        """
        heard_at = anyio.current_time()
        while True:
            request = pb.WatchGatesRequest(namespace=namespace, id=gate_id, resume_token=resume_token)
            try:
                async for response in self._responses(request):
                    heard_at, resume_token = anyio.current_time(), response.resume_token
                    if response.kind != pb.WatchGatesResponse.KIND_HEARTBEAT:
                        yield _update(response)
            except (grpc.aio.AioRpcError, OSError) as error:
                patience = _REPLACED_S if resume_token else _AWAY_S
                code = (
                    error.code() if isinstance(error, grpc.aio.AioRpcError) else grpc.StatusCode.UNAVAILABLE
                )
                away = anyio.current_time() - heard_at
                if code is not grpc.StatusCode.UNAVAILABLE or away > patience:
                    raise _error(error, self._channel.target) from None
            await anyio.sleep(_PAUSE_S)

    async def _responses(self, request: pb.WatchGatesRequest) -> AsyncIterator[pb.WatchGatesResponse]:
        call = await self._channel.stream(f"{_SERVICE}WatchGates", request, pb.WatchGatesResponse.FromString)
        try:
            while True:
                async with asyncio.timeout(_QUIET_S):
                    response = await call.read()
                if not isinstance(response, pb.WatchGatesResponse):
                    return
                yield response
        finally:
            call.cancel()

    async def _ask(
        self,
        method: str,
        request: Message,
        answer: Callable[[bytes], A],
        again: Set[grpc.StatusCode] = _AWAY,
    ) -> A:
        """Ask, again if the server is away for a moment: every method may be repeated."""
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._channel.unary(_SERVICE + method, request, answer, within_s=_ANSWER_S)
            except grpc.aio.AioRpcError as error:
                if error.code() not in again or attempt == _TRIES:
                    raise _error(error, self._channel.target) from None
                await anyio.sleep(min(retry_delay(error) or _PAUSE_S * attempt, _ANSWER_S))
            except OSError as error:
                raise _error(error, self._channel.target) from None
            except asyncio.CancelledError:
                await anyio.lowlevel.checkpoint_if_cancelled()  # grpc/grpc#43502, as in transport/bridge.py
                raise
        raise AssertionError("the last attempt returns or raises")


def _error(error: grpc.aio.AioRpcError | OSError, target: str) -> ClientError:
    if not isinstance(error, grpc.aio.AioRpcError):
        words = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return ClientError("UNAVAILABLE", words or f"{target} says nothing", {})
    said = error.details() or error.code().name
    if said.startswith(_NO_CONNECTION):
        said = f"no server answers at {target}; see whether `chaosplugin serve` listens there: {said}"
    return ClientError(error.code().name, said, violations(error))


def _gate(gate: pb.Gate) -> Gate:
    return Gate(
        id=gate.id,
        namespace=gate.namespace,
        name=gate.name,
        metric=gate.metric,
        owner=gate.owner,
        experiment=gate.experiment,
        stage=_STAGES.get(gate.stage, Stage.RESTORING),
        phase=_PHASES.get(gate.phase, Phase.RUNNING),
        reason=gate.reason,
        message=gate.message,
        value=gate.value,
        started_at=gate.started_at.ToDatetime(UTC),
        finished_at=gate.finished_at.ToDatetime(UTC) if gate.HasField("finished_at") else None,
    )


def _update(response: pb.WatchGatesResponse) -> Update:
    return Update(
        events=[
            GateEvent(_gate(event.gate), _STAGES.get(event.before), event.at.ToDatetime(UTC))
            for event in response.events
        ],
        snapshot=response.kind == pb.WatchGatesResponse.KIND_SNAPSHOT,
        missed=response.missed,
        resume_token=response.resume_token,
    )


_STAGES: Mapping[int, Stage] = {pb.Stage.Value(f"STAGE_{stage.name}"): stage for stage in Stage}
_PHASES: Mapping[int, Phase] = {
    pb.Phase.Value(f"PHASE_{phase.name}"): phase for phase in Phase if phase is not Phase.PENDING
}
