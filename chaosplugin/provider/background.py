"""Work that goes on beside the calls, and which no error of this program may end for good."""

import logging
from collections.abc import Awaitable, Callable

import anyio

_log = logging.getLogger(__name__)

_AGAIN_S = 60.0


async def keep(work: Callable[[], Awaitable[None]]) -> None:
    """Do it until it returns; after an error, which is logged, begin it anew in a minute."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001  the boundary: gates go on, whatever ails what is done beside them
            _log.exception("an error of chaosplugin itself; please report it")
        else:
            return
        await anyio.sleep(_AGAIN_S)
