"""GateService of proto/: gates to start, look at, end and follow."""

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import anyio
import grpc
import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from chaosplugin.core.gates import Gate, GateEvent
from chaosplugin.core.record import Asked
from chaosplugin.core.refusal import Refusal
from chaosplugin.provider.gates import Gates, NameTaken
from chaosplugin.provider.ports import ClusterError, Denied, Invalid, NotFound
from chaosplugin.transport._pb import gates_pb2 as pb
from chaosplugin.transport.grpc.callers import Caller
from chaosplugin.transport.grpc.dispatch import Streaming, Unary
from chaosplugin.transport.grpc.status import Rejected, invalid, later, refused

SERVICE = pb.DESCRIPTOR.services_by_name["GateService"]

MOST = 2048
"""Calls at a time, almost all of which may be watches"""
_PAGE = 1000  # gates in one message: less than 2 MB, and clients take 4 MiB by default
_MAX_CONFIG = 2 << 20  # as in core/config.py
_BATCH = 512  # events in one message
_HEARTBEAT_S = 15.0
_MESSAGES_A_SECOND = 4000.0
"""What all watchers together are sent at most; with more of them each is told less often, more at once."""
_RETRY_S = 2.0


class GateMethods:
    """The service's methods. `begin` is asked before a start, and raises if none may begin."""

    def __init__(self, gates: Gates, begin: Callable[[], None]) -> None:
        self._gates = gates
        self._begin = begin
        self._watchers = 0
        self._tick = anyio.Event()
        self._ending = False
        self._shared: dict[tuple[int, int], bytes] = {}

    @property
    def by_name(self) -> Mapping[str, Unary | Streaming]:
        return {
            "StartGate": self.start,
            "GetGate": self.get,
            "ListGates": self.list,
            "TerminateGate": self.terminate,
            "WatchGates": self.watch,
        }

    # -- one answer

    async def start(self, request: pb.StartGateRequest, caller: Caller) -> pb.StartGateResponse:
        self._begin()
        caller.check(_required("namespace", request.namespace))
        rollout = _required("rollout", request.rollout)
        name = request.name or f"gate-{secrets.token_hex(5)}"
        asked = Asked(_config(request.config), request.success_condition, request.failure_condition)
        try:
            return pb.StartGateResponse(
                gate=_gate(await self._gates.start(request.namespace, rollout, name, asked))
            )
        except Refusal as refusal:
            raise refused(refusal) from None
        except NameTaken as taken:
            raise Rejected(grpc.StatusCode.ALREADY_EXISTS, str(taken)) from None
        except ClusterError as error:
            raise _rejected(error) from None

    async def get(self, request: pb.GetGateRequest, caller: Caller) -> pb.GetGateResponse:
        return pb.GetGateResponse(gate=_gate(await self._find(request.namespace, request.id, caller)))

    async def list(self, request: pb.ListGatesRequest, caller: Caller) -> pb.ListGatesResponse:
        namespaces: Iterable[str] = [request.namespace]
        if request.namespace:
            caller.check(request.namespace)
        elif caller.namespaces is not None:
            namespaces = caller.namespaces
        try:
            found = [gate for each in namespaces for gate in await self._gates.all_in(each)]
        except ClusterError as error:
            raise _rejected(error) from None
        found.sort(key=lambda gate: gate.started_at, reverse=True)
        if request.page_token:
            ids = [gate.id for gate in found]
            if request.page_token not in ids:
                raise invalid("page_token", "that gate is gone; begin anew")
            found = found[ids.index(request.page_token) + 1 :]
        size = min(request.page_size, _PAGE) if request.page_size > 0 else _PAGE
        more = len(found) > size
        page = found[:size]
        return pb.ListGatesResponse(
            gates=map(_gate, page), next_page_token=page[-1].id if more and page else ""
        )

    async def terminate(self, request: pb.TerminateGateRequest, caller: Caller) -> pb.TerminateGateResponse:
        gate = await self._find(request.namespace, request.id, caller)
        if not gate.phase.completed:
            try:
                await self._gates.terminate(gate)
            except ClusterError as error:
                raise _rejected(error) from None
        return pb.TerminateGateResponse(gate=_gate(gate))

    async def _find(self, namespace: str, gate_id: str, caller: Caller) -> Gate:
        caller.check(_required("namespace", namespace))
        try:
            found = await self._gates.find(namespace, _required("id", gate_id))
        except ClusterError as error:
            raise _rejected(error) from None
        if found is None:
            raise Rejected(grpc.StatusCode.NOT_FOUND, f"no gate {gate_id[:64]} in namespace {namespace}")
        return found

    # -- many answers

    async def run(self) -> None:
        """Wake the watchers together, at most so often that the messages can be borne, until cancelled."""
        place = self._gates.feed.place
        while True:
            await self._gates.news(place)
            place = self._gates.feed.place
            self._wake()
            await anyio.sleep(max(0.02, self._watchers / _MESSAGES_A_SECOND))

    def end(self) -> None:
        """Let all watches end: their readers go elsewhere."""
        self._ending = True
        self._wake()

    def _wake(self) -> None:
        self._shared.clear()
        self._tick.set()
        self._tick = anyio.Event()

    async def watch(self, request: pb.WatchGatesRequest, caller: Caller) -> AsyncIterator[bytes]:
        if request.namespace:
            caller.check(request.namespace)
        feed, shown = self._gates.feed, _filter(request, caller)
        self._watchers += 1
        try:
            place = feed.place_of(request.resume_token)
            told_at = anyio.current_time()
            while not self._ending:
                tick, before, told = self._tick, place, False
                place, messages = await self._after(place, request, caller, shown)
                for message in messages:
                    yield message
                    told = True
                if place == before:
                    with anyio.CancelScope(deadline=told_at + _HEARTBEAT_S):
                        await tick.wait()
                if not told and anyio.current_time() >= told_at + _HEARTBEAT_S:
                    yield _response(pb.WatchGatesResponse.KIND_HEARTBEAT, feed.token(place))
                    told = True
                if told:
                    told_at = anyio.current_time()
        finally:
            self._watchers -= 1
        raise later("this server is ending; another one takes over", 1.0)

    async def _after(
        self,
        place: int | None,
        request: pb.WatchGatesRequest,
        caller: Caller,
        shown: Callable[[Gate], bool] | None,
    ) -> tuple[int, Iterable[bytes]]:
        """Return what is to be told after a place, and the place after that; no event is waited for.

        At the begin, and where events were missed, it is how all is by now: what is left is not told either.
        """
        feed = self._gates.feed
        if place is None or (batch := feed.read(place)).missed:
            now = feed.place  # what happens while it is looked for is told again
            named = await self._named(request, caller)
            return now, self._snapshot(now, shown, 0 if place is None else now - place, named)
        events = batch.events[:_BATCH]
        message = self._events(place, place + len(events), events, shown) if events else b""
        return place + len(events), [message] if message else []

    def _events(
        self, start: int, place: int, events: Iterable[GateEvent], shown: Callable[[Gate], bool] | None
    ) -> bytes:
        """Return a message; the one for those who are shown everything is made once."""
        kind, token = pb.WatchGatesResponse.KIND_EVENTS, self._gates.feed.token(place)
        if shown is not None:
            told = [_event(event) for event in events if shown(event.gate)]
            return _response(kind, token, told) if told else b""
        message = self._shared.get((start, place))
        if message is None:
            message = self._shared[start, place] = _response(kind, token, map(_event, events))
        return message

    async def _named(self, request: pb.WatchGatesRequest, caller: Caller) -> Sequence[Gate]:
        """Find the one gate that is to be followed: it may have ended before this server began."""
        if not request.id:
            return []
        seen = request.namespace or caller.namespaces is None
        namespaces = [request.namespace] if seen else caller.namespaces
        try:
            found = [await self._gates.find(each, request.id) for each in namespaces or ()]
        except ClusterError as error:
            raise _rejected(error) from None
        return [gate for gate in found if gate]

    def _snapshot(
        self, place: int, shown: Callable[[Gate], bool] | None, missed: int, named: Sequence[Gate]
    ) -> Iterator[bytes]:
        """Yield how things are; `named`: the one gate that is shown, where it is only one.

        Of many gates in several messages; only from the last one on a later watch can go on.
        """
        gates = [gate for gate in named or self._gates.live() if shown is None or shown(gate)]
        kind = pb.WatchGatesResponse.KIND_SNAPSHOT
        for start in range(0, max(1, len(gates)), _PAGE):
            page = gates[start : start + _PAGE]
            token = self._gates.feed.token(place) if start + _PAGE >= len(gates) else ""
            told = [_event(GateEvent(gate, None, gate.finished_at or gate.started_at)) for gate in page]
            yield _response(kind, token, told, missed)
            kind, missed = pb.WatchGatesResponse.KIND_EVENTS, 0


def _filter(request: pb.WatchGatesRequest, caller: Caller) -> Callable[[Gate], bool] | None:
    """Say which gates a watcher is shown; None: all of them."""
    if not request.namespace and not request.id and caller.namespaces is None:
        return None
    return lambda gate: (
        request.namespace in {"", gate.namespace}
        and request.id in {"", gate.id}
        and caller.may_see(gate.namespace)
    )


# -- what is read


def _required(field: str, text: str) -> str:
    if not text or len(text) > 253:
        raise invalid(field, "between 1 and 253 characters are wanted")
    return text


def _config(data: bytes) -> msgspec.Raw:
    if len(data) > _MAX_CONFIG:
        raise invalid("config", f"at most {_MAX_CONFIG} bytes are wanted")
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.json.decode(data)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid("config", f"no such JSON: {error}") from None


def _rejected(error: ClusterError) -> Rejected:
    match error:
        case NotFound():
            return Rejected(grpc.StatusCode.NOT_FOUND, str(error))
        case Denied():
            return Rejected(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        case Invalid():
            return Rejected(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        case _:
            return later(str(error), _RETRY_S)


# -- what is told


def _gate(gate: Gate) -> pb.Gate:
    return pb.Gate(
        id=gate.id,
        namespace=gate.namespace,
        name=gate.name,
        metric=gate.metric,
        owner=gate.owner,
        experiment=gate.experiment,
        stage=f"STAGE_{gate.stage.name}",
        phase=f"PHASE_{gate.phase.name}",
        reason=gate.reason,
        message=gate.message,
        value=gate.value,
        started_at=_time(gate.started_at),
        finished_at=_time(gate.finished_at),
    )


def _event(event: GateEvent) -> pb.GateEvent:
    before = "UNSPECIFIED" if event.before is None else event.before.name
    return pb.GateEvent(gate=_gate(event.gate), before=f"STAGE_{before}", at=_time(event.at))


def _response(
    kind: pb.WatchGatesResponse.Kind, token: str, events: Iterable[pb.GateEvent] = (), missed: int = 0
) -> bytes:
    return pb.WatchGatesResponse(
        kind=kind, events=events, resume_token=token, missed=missed
    ).SerializeToString()


def _time(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    made = Timestamp()
    made.FromDatetime(moment)
    return made
