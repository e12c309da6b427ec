"""The signals that end a plugin; they wait from the handshake on until somebody serves."""

import logging
import signal
from collections.abc import Callable

import anyio
from anyio.abc import TaskStatus

from chaosplugin.transport.listener import END_SIGNALS

_log = logging.getLogger(__name__)


async def obey(end: Callable[[], None], *, task_status: TaskStatus[None]) -> None:
    """Call `end` when the process is to end. SIGINT is for the host alone, as in Go."""
    with anyio.open_signal_receiver(*END_SIGNALS) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)
        task_status.started()
        async for number in signals:
            if number == signal.SIGINT:
                _log.debug("SIGINT ignored: the host decides")
            else:
                end()
