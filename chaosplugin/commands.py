"""Gates from a command line: `run`, `watch`, `ls` and `stop`, through a server or directly.

Directly, this process is what a server is: it works on the gates that it runs, watches or stops. Exit codes
are the verdict's: 0 survived, 1 failed, 2 inconclusive, 3 error; of `watch`, `ls` and `stop` 0 or 3.
"""

import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from chaosplugin import client, serving
from chaosplugin.app import Clock, now
from chaosplugin.core import analysis_template
from chaosplugin.core.analysis import Phase
from chaosplugin.core.gates import Gate, GateEvent
from chaosplugin.core.record import Asked
from chaosplugin.core.refusal import Refusal
from chaosplugin.core.run import Stage
from chaosplugin.kube.clusters import open_clusters
from chaosplugin.kube.errors import NoCluster
from chaosplugin.kube.yaml import YAMLError, load
from chaosplugin.provider.background import keep
from chaosplugin.provider.gates import Gates, NameTaken
from chaosplugin.provider.ports import ClusterError
from chaosplugin.provider.settings import Settings
from chaosplugin.telemetry import logs
from chaosplugin.telemetry.observing import Observing
from chaosplugin.transport.grpc.addresses import Target

ERROR = 3
_CODES = {Phase.SUCCESSFUL: 0, Phase.FAILED: 1, Phase.INCONCLUSIVE: 2, Phase.ERROR: ERROR}
_MAX_FILE = 2 << 20
_CLEAN_S = 90.0
"""How long the removal of the experiment is waited for, after the verdict"""


class Where(NamedTuple):
    """How gates are reached: by a server, or, without one, by the cluster of the settings."""

    server: Target | None
    settings: Settings
    json: bool


class Start(NamedTuple):
    """A gate that is to be run."""

    template: str
    rollout: str
    namespace: str
    name: str
    metric: str
    arguments: Mapping[str, str]
    settings: Mapping[str, str]


class NotDoneError(Exception):
    """It could not be done; the text is for the user."""


class _Access(Protocol):
    """What a server and a cluster have in common."""

    async def start(self, start: Start, asked: Asked) -> Gate: ...
    async def list(self, namespace: str) -> Sequence[Gate]: ...
    async def terminate(self, gate: Gate) -> None: ...
    def events(self, namespace: str, gate_id: str) -> AsyncIterator[GateEvent]: ...


# -- the commands


def run(where: Where, start: Start) -> int:
    """Run a gate to its end; the first ctrl-C ends it early, and waits for that."""
    try:
        asked = _read(start)
    except (NotDoneError, Refusal) as error:
        return _complain(error)
    return _in_loop(where, lambda access: _run(where, access, start, asked))


def watch(where: Where, namespace: str, gate_id: str) -> int:
    """Tell every step of gates; of one gate until its end."""

    async def follow(access: _Access) -> int:
        if gate_id:
            await _find(access, namespace, gate_id)
        async for event in access.events(namespace, gate_id):
            heard = _tell(event, as_json=where.json)
            if not heard or (gate_id and event.gate.stage is Stage.DONE):
                break
        return 0

    return _in_loop(where, follow)


def ls(where: Where, namespace: str) -> int:
    """List gates."""

    async def show(access: _Access) -> int:
        found = await access.list(namespace)
        if where.json:
            _write(*map(_json_of, found))
        else:
            rows = [("NAMESPACE", "ID", "STAGE", "PHASE", "REASON", "OWNER", "NAME")]
            rows += [
                (gate.namespace, gate.id, gate.stage, gate.phase, gate.reason, gate.owner, gate.name)
                for gate in found
            ]
            _write(*_table(rows))
        return 0

    return _in_loop(where, show)


def stop(where: Where, namespace: str, gate_id: str) -> int:
    """End a gate early, and wait until its fault is undone."""

    async def end(access: _Access) -> int:
        found = await _find(access, namespace, gate_id)
        if found.phase.completed:
            _tell(GateEvent(found, None, found.finished_at or now()), as_json=where.json)
            return 0
        await access.terminate(found)
        await _follow(where, access, found)
        return 0

    return _in_loop(where, end)


async def _find(access: _Access, namespace: str, gate_id: str) -> Gate:
    found = next((gate for gate in await access.list(namespace) if gate.id == gate_id), None)
    if found is None:
        raise NotDoneError(
            f"no gate {gate_id} in {f'namespace {namespace}' if namespace else 'any namespace'}"
        )
    return found


async def _run(where: Where, access: _Access, start: Start, asked: Asked) -> int:
    gate = await access.start(start, asked)
    _tell(GateEvent(gate, None, now()), as_json=where.json)
    if gate.stage is not Stage.DONE:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_obey_signals, access, gate)
            gate = await _follow(where, access, gate)
            tasks.cancel_scope.cancel()
    return _CODES.get(gate.phase, ERROR)


async def _follow(where: Where, access: _Access, gate: Gate) -> Gate:
    """Tell the steps of a gate until nothing is left to be done."""
    with anyio.CancelScope() as patience:
        async for event in access.events(gate.namespace, gate.id):
            if event.gate.stage is not gate.stage or event.gate.phase is not gate.phase:
                _tell(event, as_json=where.json)
            gate = event.gate
            if gate.stage is Stage.DONE:
                break
            if gate.stage is Stage.DECIDED:
                patience.deadline = min(patience.deadline, anyio.current_time() + _CLEAN_S)
    if patience.cancelled_caught:
        sys.stderr.write(f"chaosplugin: {gate.experiment} is not gone yet: see `kubectl describe`\n")
    return gate


async def _obey_signals(access: _Access, gate: Gate) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            sys.stderr.write("chaosplugin: ending the gate; once more leaves it to the cluster\n")
            await access.terminate(gate)
            break
        async for number in signals:
            raise NotDoneError(f"left the gate by signal {number}; `chaosplugin stop` ends it")


# -- a server, or a cluster


class _Served:
    """Gates by way of a server."""

    def __init__(self, through: client.Client) -> None:
        self._client = through

    async def start(self, start: Start, asked: Asked) -> Gate:
        config = msgspec.json.decode(asked.config, type=dict[str, object])
        return await self._client.start(
            start.namespace,
            start.rollout,
            config,
            name=start.name,
            success_condition=asked.success_condition,
            failure_condition=asked.failure_condition,
        )

    async def list(self, namespace: str) -> Sequence[Gate]:
        return await self._client.list(namespace)

    async def terminate(self, gate: Gate) -> None:
        await self._client.terminate(gate.namespace, gate.id)

    async def events(self, namespace: str, gate_id: str) -> AsyncIterator[GateEvent]:
        async for update in self._client.watch(namespace, gate_id):
            for event in update.events:
                yield event


class _Direct:
    """Gates that this process itself works on."""

    def __init__(self, gates: Gates, tasks: TaskGroup) -> None:
        self._gates = gates
        self._tasks = tasks
        self._own: set[str] = set()
        """gates that were started here: of others nothing has to be known for them"""

    async def start(self, start: Start, asked: Asked) -> Gate:
        name = start.name or f"gate-{secrets.token_hex(5)}"
        gate = await self._gates.start(start.namespace, start.rollout, name, asked)
        self._own.add(gate.id)
        await self._gates.expire(start.namespace)
        return gate

    async def list(self, namespace: str) -> Sequence[Gate]:
        return await self._gates.all_in(namespace)

    async def terminate(self, gate: Gate) -> None:
        await self._gates.terminate(gate)

    async def events(self, namespace: str, gate_id: str) -> AsyncIterator[GateEvent]:
        if not gate_id:
            self._tasks.start_soon(keep, partial(self._gates.follow, namespace))
            self._gates.analyses.follow(namespace)
        elif gate_id not in self._own and (found := await self._gates.find(namespace, gate_id)):
            yield GateEvent(found, None, found.finished_at or found.started_at)
        place = 0
        while True:
            batch = self._gates.feed.read(place)
            place = batch.place
            for event in batch.events:
                if gate_id in {"", event.gate.id} and namespace in {"", event.gate.namespace}:
                    yield event
            await self._gates.news(place)


@asynccontextmanager
async def _access(where: Where) -> AsyncIterator[_Access]:
    if where.server is not None:
        async with client.connect(where.server) as through:
            yield _Served(through)
        return
    clock, settings = Clock(), where.settings
    watched = Observing(settings, clock)
    opened = open_clusters(
        settings.kubeconfig,
        clock=clock,
        rate=settings.kube_api_qps,
        observer=watched.observer,
    )
    async with opened as clusters, anyio.create_task_group() as tasks:
        gates = serving.host_gates(tasks, clusters, settings, clock, watched)
        if watched.wanted:
            tasks.start_soon(watched.serve, lambda: gates.runs)
        tasks.start_soon(gates.serve)
        yield _Direct(gates, tasks)
        tasks.cancel_scope.cancel()


def _in_loop(where: Where, work: Callable[[_Access], Awaitable[int]]) -> int:
    async def begin() -> int:
        async with _access(where) as access:
            return await work(access)

    logs.for_person(where.settings.log_level)
    try:
        return anyio.run(begin, backend="asyncio")
    except* (NotDoneError, client.ClientError, Refusal, ClusterError, NoCluster, NameTaken, OSError) as group:
        for error in _leaves(group):
            _complain(error)
    return ERROR


def _complain(error: Exception) -> int:
    reason = f"{error.reason}: " if isinstance(error, Refusal) else ""
    sys.stderr.write(f"chaosplugin: {reason}{error}\n")
    return ERROR


def _leaves(group: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


# -- what is read and written


def _read(start: Start) -> Asked:
    """Read the template. Raises: NotDoneError, InvalidConfig."""
    try:
        with sys.stdin if start.template == "-" else Path(start.template).open(encoding="utf-8") as file:
            text = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise NotDoneError(f"{start.template}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise NotDoneError(f"{start.template}: byte {error.start + 1} is no UTF-8 text") from None
    settings = {key: _yaml(f"--set {key}", value) for key, value in start.settings.items()}
    return analysis_template.read(_yaml(start.template, text), start.arguments, start.metric, settings)


def _yaml(origin: str, text: str) -> object:
    try:
        return load(text)
    except YAMLError as error:
        raise NotDoneError(f"{origin}: {error}") from None


def _tell(event: GateEvent, *, as_json: bool) -> bool:
    gate = event.gate
    if as_json:
        return _write(_json_of(gate))
    words = gate.message if gate.stage is Stage.DONE else f"{gate.stage}: {gate.message}"
    at = event.at.astimezone().strftime("%H:%M:%S")
    return _write(_plain(f"{at} {gate.namespace}/{gate.id} {gate.phase} {words}"))


def _json_of(gate: Gate) -> str:
    fields = {_camel(key): value for key, value in msgspec.to_builtins(gate).items() if value is not None}
    with suppress(msgspec.DecodeError):  # by whoever has written it down
        fields["value"] = msgspec.json.decode(gate.value)
    return msgspec.json.encode(fields).decode()


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(map(str.capitalize, rest))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(_plain(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _plain(text: str) -> str:
    """Leave out what would be no text to a terminal: others have written it."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _write(*lines: str) -> bool:
    """Write lines at once, as others may be reading; returns whether somebody does.

    Without a reader a gate is followed to its end all the same: left alone, its fault would stay on.
    """
    try:
        sys.stdout.writelines(line + "\n" for line in lines)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes there
        return False
    return True
