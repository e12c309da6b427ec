"""Plugins by name: started when first wanted, initialised once a process, pinged before every use.

Source: argo-rollouts metricproviders/plugin/client/client.go, utils/config/config.go; go-plugin client.go.
"""

import re
from collections.abc import Mapping

import anyio
import anyio.abc

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.host import gotypes, mux, process
from chaosplugin.sandbox.host.assessment import V1_10, Rules
from chaosplugin.sandbox.host.client import CallFailed, PluginUnavailable
from chaosplugin.sandbox.host.gotypes import Kind
from chaosplugin.sandbox.host.logs import Log
from chaosplugin.sandbox.host.mux import Connection, ConnectionLost
from chaosplugin.sandbox.host.process import QUIT_TIMEOUT, Command, PluginProcess
from chaosplugin.sandbox.host.rpc import Caller
from chaosplugin.wire.gob import gotypes as go
from chaosplugin.wire.gob import shapes
from chaosplugin.wire.gob.shapes import Named
from chaosplugin.wire.handshake import DISPENSED_AS

QUIT_ANSWER = 10.0
"""Seconds for the whole of Quit. go-plugin sets no limit, and waits for a frozen process 40 s."""

_NAME = re.compile(r"([a-zA-Z0-9\-]+)/{1}([a-zA-Z0-9_\-.]+)")


class ConfigError(Exception):
    """The controller does not start with these plugins; `str()` is what it says."""


class RpcPlugin:
    """A dispensed metric plugin."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def read(self) -> None:
        """Take answers until the stream ends."""
        await self._caller.read()

    async def init(self) -> str:
        """Return "" or what the plugin could not do."""
        answer = await self._caller.call("Plugin.InitPlugin", gotypes.ARGUMENT, None, gotypes.RPC_ERROR_SHAPE)
        return _error(answer)

    async def type(self) -> str:
        return str(await self._caller.call("Plugin.Type", gotypes.ARGUMENT, None, shapes.STRING))

    async def run(self, run: Object, metric: Object) -> Object:
        return await self._measure("Run", gotypes.RUN_ARGS, {"run": run, "metric": metric})

    async def resume(self, run: Object, metric: Object, measurement: Object) -> Object:
        given = {"run": run, "metric": metric, "measurement": measurement}
        return await self._measure("Resume", gotypes.TERMINATE_AND_RESUME_ARGS, given)

    async def terminate(self, run: Object, metric: Object, measurement: Object) -> Object:
        given = {"run": run, "metric": metric, "measurement": measurement}
        return await self._measure("Terminate", gotypes.TERMINATE_AND_RESUME_ARGS, given)

    async def garbage_collect(self, run: Object, metric: Object, limit: int) -> str:
        given = {"run": run, "metric": metric, "limit": limit}
        arguments, reply = gotypes.GARBAGE_COLLECT_ARGS, gotypes.RPC_ERROR_SHAPE
        return _error(await self._call("GarbageCollect", arguments, given, reply))

    async def get_metadata(self, metric: Object) -> dict[str, str]:
        given = {"metric": metric}
        answer = await self._call("GetMetadata", gotypes.GET_METADATA_ARGS, given, gotypes.STRINGS_SHAPE)
        return {str(key): str(value) for key, value in answer.items()} if isinstance(answer, dict) else {}

    async def _measure(self, method: str, arguments: Kind, given: Object) -> Object:
        answer = await self._call(method, arguments, given, gotypes.MEASUREMENT_SHAPE)
        # Go's omitempty: what is zero is not written to the cluster, but for the phase
        found = answer.items() if isinstance(answer, dict) else ()
        return {"phase": ""} | {key: value for key, value in found if value not in ("", None, {})}

    async def _call(self, method: str, arguments: Kind, given: Object, reply: shapes.Shape) -> object:
        assert isinstance(arguments.go, go.Struct)  # noqa: S101  the arguments of every method are structs
        value = Named(arguments.go.name, arguments.value(given))
        return await self._caller.call(f"Plugin.{method}", gotypes.ARGUMENT, value, reply)


class Live:
    """One process with its session; the session ends with the process."""

    def __init__(self, running: PluginProcess, command: Command) -> None:
        self.process = running
        self.plugin: RpcPlugin | None = None
        self._kind = command.kind
        self._connection: Connection | None = None
        self._control: Caller | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._streams: list[mux.Stream] = []
        self._ready = anyio.Event()
        self._failure = ""

    async def serve(self) -> None:
        """Hold process and session until the process is gone. Not cancellable: use `quit`."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as pipes:
                pipes.start_soon(self.process.run)
                try:
                    async with mux.connect((await self.process.address()).address) as connection:
                        await self._hold(connection)
                except (PluginUnavailable, OSError) as error:
                    self._fail(str(error))

    async def _hold(self, connection: Connection) -> None:
        async with anyio.create_task_group() as self._tasks:
            try:
                self._streams = [await connection.open() for _ in ("control", "stdout", "stderr")]
            except ConnectionLost as error:
                self._fail(str(error))
                return
            control = Caller(self._streams[0])
            self._tasks.start_soon(control.read)
            for prints in self._streams[1:]:
                self._tasks.start_soon(_drain, prints)
            self._connection, self._control = connection, control
            self._ready.set()
            await self.process.exited.wait()
            self._tasks.cancel_scope.cancel()

    def _fail(self, why: str) -> None:
        self._failure = why
        self.process.kill()
        self._ready.set()

    async def dispense(self) -> RpcPlugin:
        """Wait for the session, and open the plugin's own stream.

        Raises PluginUnavailable.
        """
        await self._ready.wait()
        if self._control is None or self._connection is None or self._tasks is None:
            raise PluginUnavailable(self._failure)
        name = DISPENSED_AS[self._kind]
        try:
            broker_id = await self._control.call("Dispenser.Dispense", go.STRING, name, shapes.UINT)
            stream = await self._connection.open()
            number = int(str(broker_id)).to_bytes(4, "little")
            await stream.send(number)
            acknowledged = b""
            while len(acknowledged) < 4 and (data := await stream.receive()):
                acknowledged += data
        except (CallFailed, ConnectionLost) as error:
            raise PluginUnavailable(f"unable to dispense plugin ({name}): {error}") from error
        if acknowledged != number:
            raise PluginUnavailable(f"bad ack: {acknowledged.hex()} (expected {number.hex()})")
        self.plugin = RpcPlugin(Caller(stream))
        self._tasks.start_soon(self.plugin.read)
        return self.plugin

    async def ping(self) -> None:
        """Raises CallFailed."""
        if self._control is None:
            raise CallFailed(self._failure)
        await self._control.call("Control.Ping", go.BOOL, value=True, reply=gotypes.NOTHING_SHAPE)

    async def _hang_up(self) -> None:
        for stream in self._streams:
            await stream.end()
        if self._connection is not None:
            self._connection.close()

    async def quit(self) -> None:
        """Ask the process to end, kill it if it does not within two seconds, and wait until it is gone."""
        with anyio.move_on_after(QUIT_ANSWER):
            try:
                if self._control is not None:
                    await self._control.call("Control.Quit", go.BOOL, value=True, reply=gotypes.NOTHING_SHAPE)
                    await self._hang_up()
                    await self.process.wait(QUIT_TIMEOUT)
            except CallFailed:
                pass  # it is gone, or deaf
        self.process.kill()
        await self.process.exited.wait()


class PluginProcesses:
    """All plugins of a controller, by registered name."""

    def __init__(self, commands: Mapping[str, Command], log: Log, rules: Rules = V1_10) -> None:
        for name in commands:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    "Failed to init config: validation of config due to "
                    f"(plugin repository ({name}) must be in the format of <namespace>/<name>)"
                )
        self._commands = commands
        self._log = log
        self._rules = rules
        self._mutex = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._live: dict[str, Live] = {}

    async def run(self) -> None:
        """Keep what is started until cancelled; then every process is asked to quit, and gone."""
        async with anyio.create_task_group() as self._tasks:
            try:
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    async with anyio.create_task_group() as ending:
                        for live in self._live.values():
                            ending.start_soon(live.quit)

    def live(self, name: str) -> Live | None:
        """Return the process of a plugin, if it was ever started."""
        return self._live.get(name)

    async def get(self, name: str) -> RpcPlugin:
        command = self._commands.get(name)
        if command is None:
            why = f"plugin {name} not configured in configmap"
            raise PluginUnavailable(f"unable to find plugin ({name}): {why}")
        async with self._mutex:
            live = self._live.get(name)
            if live is None or live.process.exited.is_set():
                live = await self._start(name, command)
            try:
                await live.ping()
            except CallFailed as error:
                await live.quit()
                self._live.pop(name, None)
                why = "could not ping plugin will cleanup process so we can restart it next reconcile"
                raise PluginUnavailable(f"{why} ({error})") from error
            if live.plugin is None:
                raise PluginUnavailable(f"plugin {name} was never dispensed")
            return live.plugin

    async def _start(self, name: str, command: Command) -> Live:
        if self._tasks is None:
            raise PluginUnavailable("the controller does not run")
        try:
            live = self._live[name] = Live(await process.start(command, self._log), command)
            self._tasks.start_soon(live.serve)
            plugin = await live.dispense()
        except PluginUnavailable as error:
            raise PluginUnavailable(f"unable to get plugin client ({name}): {error}") from error
        try:
            refusal = await plugin.init()
        except CallFailed as error:
            refusal = f"InitPlugin rpc call error: {error}"
        if refusal:
            told = refusal if self._rules.tells_init_error else "%!w(<nil>)"
            raise PluginUnavailable(f"unable to initialize plugin via rpc ({name}): {told}")
        return live


async def _drain(stream: mux.Stream) -> None:
    """Argo throws away what a plugin prints."""
    while await stream.receive():
        pass


def _error(answer: object) -> str:
    return str(answer.get("error", "")) if isinstance(answer, dict) else ""
