"""What the controller wants of a plugin; objects are JSON, as in the API."""

from typing import Protocol

from chaosplugin.sandbox.api.resources import Object


class CallFailed(Exception):
    """A call that was not answered; `str()` is net/rpc's text."""


class PluginUnavailable(Exception):
    """There is no plugin of that name, or it does not start, or does not answer a ping."""


class PluginClient(Protocol):
    """One metric plugin, dispensed and initialised. Every call raises CallFailed."""

    async def run(self, run: Object, metric: Object) -> Object: ...
    async def resume(self, run: Object, metric: Object, measurement: Object) -> Object: ...
    async def terminate(self, run: Object, metric: Object, measurement: Object) -> Object: ...
    async def garbage_collect(self, run: Object, metric: Object, limit: int) -> str: ...
    async def get_metadata(self, metric: Object) -> dict[str, str]: ...


class Plugins(Protocol):
    """Where the controller gets its plugins from, by registered name."""

    async def get(self, name: str) -> PluginClient:
        """Return a plugin that has just answered a ping; start it, or start it again, where needed.

        Raises PluginUnavailable.
        """
        ...
