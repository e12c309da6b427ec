"""A plugin's process, as go-plugin's client keeps it: environment, handshake line, pipes, death.

Source: hashicorp/go-plugin v1.6.3 client.go; Argo sets no option of its own but `Managed`.
"""

import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import ByteReceiveStream, Process

from chaosplugin.sandbox.host.client import PluginUnavailable
from chaosplugin.sandbox.host.logs import CHUNK, Log, LogReader
from chaosplugin.wire import handshake
from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.handshake import Address, Kind

START_TIMEOUT = 60.0  # seconds until the handshake line
QUIT_TIMEOUT = 2.0  # seconds from the answer to Quit to SIGKILL


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a plugin. `environment` is the controller's own."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    kind: Kind = Kind.METRIC


class PluginProcess:
    """One life of a plugin. `exited` is set once both pipes have ended and the process is gone."""

    def __init__(self, process: Process, log: Log) -> None:
        self.exited = anyio.Event()
        self._process = process
        self._log = log
        self._line: str | None = None
        self._handshake = anyio.Event()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def run(self) -> None:
        """Read the pipes, which must never be left full, and wait for the end."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read_stdout)
                tasks.start_soon(self._read_stderr)
            await self._process.wait()
        finally:
            self._handshake.set()
            self.exited.set()

    async def address(self) -> Address:
        """Wait for the handshake line.

        Raises PluginUnavailable; whoever started the process then kills it.
        """
        with anyio.move_on_after(START_TIMEOUT):
            await self._handshake.wait()
        if not self._handshake.is_set():
            raise PluginUnavailable("timeout while waiting for plugin to start")
        if not self._line:
            raise PluginUnavailable(
                "Unrecognized remote plugin message: \nFailed to read any lines from plugin's stdout"
            )
        try:
            return handshake.parse(self._line)
        except RemoteProtocolError as error:
            raise PluginUnavailable(f"Unrecognized remote plugin message: {error}") from error

    async def wait(self, seconds: float) -> bool:
        """Say whether the process has ended within so many seconds."""
        with anyio.move_on_after(seconds):
            await self.exited.wait()
        return self.exited.is_set()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _read_stdout(self) -> None:
        """The first line is the handshake; the rest is thrown away."""
        async for line in _lines(self._process.stdout):
            if self._line is None:
                self._line = line.decode(errors="replace")
                self._handshake.set()
        self._handshake.set()

    async def _read_stderr(self) -> None:
        reader = LogReader()
        async for line in _lines(self._process.stderr):
            self._log(reader.read(line))


async def start(command: Command, log: Log) -> PluginProcess:
    """Start a process; `run` must follow at once.

    It gets a session of its own, so that a ctrl-C at a terminal is ours to handle.

    Raises PluginUnavailable.
    """
    environment = dict(command.environment) | handshake.client_environment(command.kind)
    try:
        process = await anyio.open_process(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise PluginUnavailable(f"fork/exec {command.argv[0]}: {error.strerror}") from error
    return PluginProcess(process, log)


async def _lines(stream: ByteReceiveStream | None) -> AsyncIterator[bytes]:
    """Yield lines without their newline; one longer than CHUNK comes in pieces too long to be parsed."""
    if stream is None:
        return
    waiting = b""
    try:
        async for data in stream:
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                yield line
            if len(waiting) > CHUNK:
                yield waiting
                waiting = b""
    except anyio.BrokenResourceError:
        pass  # the process died while we read; what it had written has come
    if waiting:
        yield waiting
