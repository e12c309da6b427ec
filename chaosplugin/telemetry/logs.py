"""Where log records go: to a host as hclog JSON, to a person as text."""

import faulthandler
import logging
import os
import sys
import threading
import types
from collections.abc import Callable
from datetime import datetime
from typing import Final

from chaosplugin.telemetry.hclog import HclogFormatter, entries, fields_of
from chaosplugin.telemetry.stderr import Pump, Writer

_FOREIGN: Final = "stderr"  # the module of what did not come by way of a log record
_FLUSH_S: Final = 0.5  # at exit; a host kills us 2 s after Quit

_log = logging.getLogger("chaosplugin")


class TextFormatter(logging.Formatter):
    """For a terminal: time, level, logger, message, fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        fields = "".join(f" {key}={value}" for key, value in fields_of(record).items())
        return super().formatMessage(record) + fields


class HostHandler(logging.StreamHandler[Writer]):
    """Takes fd 2 over for a host; see `stderr` for who may write what. `clock` gives UTC.

    A record that cannot be formatted is told by logging itself on fd 2, and so comes by way of the pump.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._host = os.dup(2)
        self._writer = Writer(self._host, self._tell_dropped)
        super().__init__(self._writer)
        self.setFormatter(HclogFormatter())
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        self._pump = Pump(reading, self._foreign)
        # A crashing process runs no thread that could wrap lines: the host gets them as they are, as text.
        faulthandler.enable(file=self._host)

    def close(self) -> None:
        """Give fd 2 back, and write what is queued within half a second; logging calls it at exit."""
        super().close()
        os.dup2(self._host, 2)
        self._pump.wait(_FLUSH_S / 2)
        self._writer.drain(_FLUSH_S / 2)

    def _foreign(self, line: str) -> None:
        for entry in entries("info", line, _FOREIGN, self._clock(), {}):
            self._writer.write(entry)

    def _tell_dropped(self, count: int) -> str:
        message = f"{count} log entries were dropped, because the host did not read them"
        return next(entries("warn", message, _log.name, self._clock(), {}))


def configure(*, under_host: bool, level: int, clock: Callable[[], datetime]) -> None:
    """Send records of `level` and above, warnings, and unhandled exceptions to stderr in the right format."""
    handler: logging.Handler
    if under_host:
        handler = HostHandler(clock)
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_exception
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_thread_exception


def _log_exception(
    type_: type[BaseException], error: BaseException, traceback: types.TracebackType | None
) -> None:
    if issubclass(type_, KeyboardInterrupt):
        sys.__excepthook__(type_, error, traceback)
    else:
        _log.critical("ended by an unhandled exception", exc_info=(type_, error, traceback))


def _log_unraisable(what: "sys.UnraisableHookArgs") -> None:
    _log.error(
        "%s: %r",
        what.err_msg or "exception ignored in",
        what.object,
        exc_info=(what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback),
    )


def _log_thread_exception(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is not None and not isinstance(what.exc_value, SystemExit):
        name = what.thread.name if what.thread else "a thread"
        _log.error(
            "%s ended by an exception", name, exc_info=(what.exc_type, what.exc_value, what.exc_traceback)
        )
