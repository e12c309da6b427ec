"""A plugin process, met as a host meets it: by its pipes, its socket and signals."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import pytest
from anyio.abc import ByteReceiveStream

from chaosplugin.transport import goplugin, mux
from chaosplugin.transport.stream import Stream
from chaosplugin.wire import handshake, yamux
from chaosplugin.wire.gob.decoder import NEED_DATA
from chaosplugin.wire.gob.gotypes import BOOL, STRING, GoType
from chaosplugin.wire.netrpc import Client, Reply
from tests.transport.pairs import open_stream

PROGRAM = Path(__file__).with_name("echo_plugin.py")


class Caller:
    """net/rpc on one stream, one call at a time."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._client = Client()

    async def call(self, method: str, type_: GoType, value: object) -> Reply:
        _, data = self._client.call(method, type_, value)
        await self.stream.send(data)
        while (reply := self._client.next_event()) is NEED_DATA:
            self._client.receive_data(await self.stream.receive())
        assert isinstance(reply, Reply)
        return reply

    async def echo(self, text: str) -> object:
        return (await self.call("Plugin.Echo", STRING, text)).value


class Session:
    """What go-plugin's client does on a connection."""

    def __init__(self, connection: mux.Mux, control: Caller, stdout: Stream) -> None:
        self.connection = connection
        self.control = control
        self.stdout = stdout

    async def ping(self) -> None:
        assert (await self.control.call("Control.Ping", BOOL, True)).error == ""

    async def quit(self) -> None:
        assert (await self.control.call("Control.Quit", BOOL, True)).error == ""

    async def dispense(self, name: str = "Echo") -> Caller:
        reply = await self.control.call("Dispenser.Dispense", STRING, name)
        assert reply.error == ""
        return await self.dial(int(str(reply.value)))

    async def dial(self, number: int) -> Caller:
        stream = await open_stream(self.connection)
        preamble = number.to_bytes(4, "little")
        await stream.send(preamble)
        assert await stream.receive() == preamble
        return Caller(stream)


async def first_line(stream: ByteReceiveStream) -> str:
    """What comes up to the first newline, however it is cut."""
    line = b""
    while not line.endswith(b"\n"):
        line += await stream.receive(1)
    return line.decode()


class Plugin:
    def __init__(self, process: anyio.abc.Process, path: str) -> None:
        self.process = process
        self.path = path

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Session]:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(self.path)
        connection = await mux.connect(sock, yamux.Role.CLIENT)
        try:
            control = Caller(await open_stream(connection))
            stdout = await open_stream(connection)
            await open_stream(connection)
            yield Session(connection, control, stdout)
        finally:
            await connection.aclose()

    async def end(self) -> str:
        """Wait for the process to end by itself; return what it wrote to stderr."""
        assert self.process.stderr is not None
        with anyio.fail_after(10):
            text = b"".join([chunk async for chunk in self.process.stderr]).decode()
            await self.process.wait()
        assert not Path(self.path).parent.exists()
        return text


@asynccontextmanager
async def plugin(folder: Path, **environ: str) -> AsyncIterator[Plugin]:
    env = {
        **os.environ,
        "TMPDIR": str(folder),
        **handshake.client_environment(handshake.Kind.METRIC),
        **environ,
    }
    process = await anyio.open_process([sys.executable, str(PROGRAM)], env=env)
    assert process.stdout is not None
    try:
        with anyio.fail_after(30):
            line = await first_line(process.stdout)
            yield Plugin(process, handshake.parse(line).address)
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()


async def test_a_host_pings_dispenses_calls_and_quits(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        async with it.connect() as session:
            await session.ping()
            caller = await session.dispense()
            assert await caller.echo("hello") == "hello"
            await session.quit()

        assert "ended: QUIT" in await it.end()
        assert it.process.returncode == 0


async def test_quit_ends_the_process_even_if_the_host_does_not_hang_up(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        await session.quit()
        with anyio.fail_after(20):
            await it.end()


async def test_quit_does_not_wait_for_a_call_that_hangs(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, anyio.create_task_group() as tasks:
        async with it.connect() as session:
            caller = await session.dispense()
            tasks.start_soon(expect_broken, caller)
            await session.ping()
            await session.quit()
        with anyio.fail_after(20):
            await it.end()


async def expect_broken(caller: Caller) -> None:
    with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream)):
        await caller.echo("hang")


async def test_the_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        path = Path(it.path)
        assert oct(path.stat().st_mode & 0o777) == "0o600"
        assert oct(path.parent.stat().st_mode & 0o777) == "0o700"
        assert path.parent.parent == tmp_path


async def test_an_unknown_plugin_is_refused_in_the_words_of_go(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        reply = await session.control.call("Dispenser.Dispense", STRING, "Other")
        assert reply.error == "unknown plugin type: Other"
        assert await (await session.dispense()).echo("still there") == "still there"


async def test_each_dispense_is_a_plugin_of_its_own(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        first, second = await session.dispense(), await session.dispense()
        assert [await second.echo("b"), await first.echo("a")] == ["b", "a"]


async def test_a_number_is_good_for_one_stream(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        await session.dispense()
        for number in (1, 7):
            stream = await open_stream(session.connection)
            await stream.send(number.to_bytes(4, "little"))
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()


async def test_a_probe_and_a_reattach_find_the_same_process(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        async with it.connect() as session:
            await session.ping()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(it.path)
        async with it.connect() as first, it.connect() as second:
            await first.ping()
            assert await (await second.dispense()).echo("x") == "x"
            await second.quit()
        await it.end()


async def test_a_peer_that_talks_nonsense_ends_its_own_session_only(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(it.path)
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert rude.recv(100) == b""
        await session.ping()


async def test_what_is_printed_reaches_the_stdout_stream_only(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        async with it.connect() as session:
            await (await session.dispense()).echo("print")
            assert await first_line(session.stdout) == "printed\n"
            await session.quit()
        assert it.process.stdout is not None
        with pytest.raises(anyio.EndOfStream):
            await it.process.stdout.receive()


async def test_printing_more_than_anybody_reads_stops_nothing(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        caller = await session.dispense()
        for _ in range(3):
            assert await caller.echo("flood") == "flood"
        await session.ping()


async def test_a_child_process_does_not_hold_the_hosts_stdout(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        async with it.connect() as session:
            await (await session.dispense()).echo("child")
            await session.quit()
        assert it.process.stdout is not None
        with anyio.fail_after(60), pytest.raises(anyio.EndOfStream):
            await it.process.stdout.receive()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        await session.ping()
        it.process.send_signal(number)
        await session.connection.wait_closed()

        assert "ended: SIGNAL" in await it.end()


async def test_a_signal_right_after_the_handshake_line_ends_it_in_order(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        it.process.send_signal(signal.SIGINT)
        it.process.send_signal(signal.SIGTERM)

        assert "ended: SIGNAL" in await it.end()


async def test_sigint_is_for_the_host(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        await session.ping()
        it.process.send_signal(signal.SIGINT)
        await session.ping()


async def test_a_host_has_no_more_streams_than_it_can_need(tmp_path: Path) -> None:
    """Each stream may hold some megabytes here, so there must not be a thousand."""
    async with plugin(tmp_path) as it, it.connect() as session:
        streams = [await open_stream(session.connection) for _ in range(32)]

        for stream in streams[-3:]:
            with pytest.raises(anyio.BrokenResourceError, match="reset"):
                await stream.receive()
        await streams[0].aclose()
        await session.ping()
        assert await (await session.dispense()).echo("still served") == "still served"
        await session.quit()


HOST = """
import os, subprocess, sys, time
plugin = subprocess.Popen([sys.executable, sys.argv[1]], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
print(plugin.stdout.readline().decode().strip(), plugin.pid, flush=True)
time.sleep(60)
"""


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def _gone(pid: int) -> None:
    with anyio.fail_after(10):
        while _alive(pid):
            await anyio.sleep(0.02)


@asynccontextmanager
async def host_process(folder: Path) -> AsyncIterator[tuple[anyio.abc.Process, str, int]]:
    env = {**os.environ, "TMPDIR": str(folder)}
    process = await anyio.open_process(
        [sys.executable, "-c", HOST, str(PROGRAM)], env=env, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with anyio.fail_after(30):
        line, pid = (await first_line(process.stdout)).split()
    try:
        yield process, handshake.parse(line).address, int(pid)
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()


async def test_a_killed_host_leaves_no_plugin_and_no_folder(tmp_path: Path) -> None:
    async with host_process(tmp_path) as (host, _, pid):
        host.kill()
        await host.wait()
        await _gone(pid)
    assert list(tmp_path.iterdir()) == []


async def test_a_reattached_host_keeps_the_plugin_until_it_leaves(tmp_path: Path) -> None:
    async with host_process(tmp_path) as (host, path, pid):
        async with Plugin(host, path).connect() as session:
            await session.ping()
            host.kill()
            await host.wait()
            await anyio.sleep(1.2)  # twice as long as the plugin waits between two looks at its host
            await session.ping()
        await _gone(pid)
    assert list(tmp_path.iterdir()) == []


async def test_a_living_host_without_a_session_keeps_the_plugin(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it:
        await anyio.sleep(1.2)
        async with it.connect() as session:
            await session.ping()


async def test_what_a_killed_plugin_left_is_removed_by_the_next(tmp_path: Path) -> None:
    async with plugin(tmp_path) as first, plugin(tmp_path) as second:
        first.process.kill()
        await first.process.wait()
        assert Path(first.path).exists()
        async with plugin(tmp_path) as third, third.connect() as session:
            with anyio.fail_after(10):
                while Path(first.path).parent.exists():
                    await anyio.sleep(0.02)
            await session.ping()
            assert Path(second.path).exists()


async def test_more_connections_than_the_limit_are_refused_and_the_others_live(tmp_path: Path) -> None:
    async with plugin(tmp_path) as it, it.connect() as session:
        await session.ping()
        held = [socket.socket(socket.AF_UNIX) for _ in range(30)]
        for sock in held:
            sock.connect(it.path)
            sock.settimeout(10)
        refused = [sock for sock in held[15:] if sock.recv(1) == b""]
        await session.ping()
        for sock in held:
            sock.close()

        assert len(refused) == 15


def test_the_user_at_the_other_end_is_known() -> None:
    a, b = socket.socketpair(socket.AF_UNIX)
    with a, b:
        assert goplugin._peer_uid(a) == os.geteuid()
