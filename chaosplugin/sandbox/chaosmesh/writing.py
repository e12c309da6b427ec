"""How Chaos Mesh's controllers write: as themselves, with Events, and as owners of what they create."""

from contextlib import suppress

from chaosplugin.sandbox.api.access import MASTERS, User
from chaosplugin.sandbox.api.errors import ApiError
from chaosplugin.sandbox.api.resources import EVENTS, Object
from chaosplugin.sandbox.api.verbs import Api, Write
from chaosplugin.sandbox.chaosmesh import events

SYSTEM_WRITE = Write(User("system:serviceaccount:chaos-mesh:chaos-controller-manager", (MASTERS,)))


def tell(api: Api, obj: Object, component: str, happening: events.Happening) -> None:
    """Write an Event; in a namespace that is going away nothing can be told any more."""
    event = events.event(obj, happening, component, api.clock())
    with suppress(ApiError):
        api.create(EVENTS, event, obj["metadata"]["namespace"], SYSTEM_WRITE)
