"""Where log records go: to a host as hclog JSON, to a person as text."""

import faulthandler
import logging
import os
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from chaosplugin.provider.facts import gate
from chaosplugin.telemetry.hclog import HclogFormatter, fields_of
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


class HostHandler(logging.Handler):
    """Takes fd 2 over for a host; see `stderr` for who may write what.

    A record that cannot be formatted is told by logging itself on fd 2, and so comes by way of the pump.
    """

    def __init__(self) -> None:
        self._host = os.dup(2)
        self._writer = Writer(self._host, self._tell_dropped)
        super().__init__()
        self.setFormatter(HclogFormatter())
        reading, writing = os.pipe()
        os.dup2(writing, 2)
        os.close(writing)
        self._pump = Pump(reading, self._foreign)
        # A crashing process runs no thread that could wrap lines: the host gets them as they are, as text.
        faulthandler.enable(file=self._host)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record))
        except Exception:  # noqa: BLE001  as handlers do, so that no log entry ends what it is about
            self.handleError(record)

    def close(self) -> None:
        """Give fd 2 back, and write what is queued within half a second; logging calls it at exit, too."""
        super().close()
        os.dup2(self._host, 2)
        self._pump.wait(_FLUSH_S / 2)
        self._writer.drain(_FLUSH_S / 2)

    def _foreign(self, line: str) -> None:
        self._writer.write(self.format(_record(_FOREIGN, logging.INFO, line)))

    def _tell_dropped(self, count: int) -> str:
        text = f"{count} log entries were dropped, because the host did not read them"
        return self.format(_record(_log.name, logging.WARNING, text))


def _record(name: str, level: int, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 0, message, None, None)


@contextmanager
def for_host(level: str) -> Iterator[None]:
    """Log as a host's plugin: records of `level` (debug, info, ...) and above, and what else comes to fd 2.

    Call it before the loop runs and threads are started. What is logged after its end still goes out at exit.
    """
    handler = HostHandler()
    _configure(handler, level)
    try:
        yield
    finally:
        handler.close()


def for_person(level: str, form: str = "text") -> None:
    """Log to a terminal or a file, as text, or in the form `json` as a host would get it."""
    handler = logging.StreamHandler()
    handler.setFormatter(HclogFormatter() if form == "json" else TextFormatter())
    _configure(handler, level)


class _InGate(logging.Filter):
    """Adds the gate that a line is about, and takes that gate's secrets out of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        asked = gate.get()
        if asked is None:
            return True
        for key, value in (("run", asked.run), ("trace_id", asked.trace.id)):
            record.__dict__.setdefault(key, value)
        if asked.secrets:
            record.msg, record.args = asked.redact(record.getMessage()), None
            for key, field in fields_of(record).items():
                record.__dict__[key] = asked.redact(str(field))
            if record.exc_info:
                record.exc_text = asked.redact(logging.Formatter().formatException(record.exc_info))
        return True


class _Counting(logging.Handler):
    """Counts warnings of the transport, by its modules."""

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        self._count(record.name.rpartition(".")[2])


def count_warnings(count: Callable[[str], None]) -> None:
    """Count what the transport warns of from now on: broken protocol, mostly."""
    logging.getLogger("chaosplugin.transport").addHandler(_Counting(count))


def _configure(handler: logging.Handler, level: str) -> None:
    handler.addFilter(_InGate())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False  # which no line tells
    logging._srcfile = None  # noqa: SLF001  likewise, as Python's logging HOWTO advises: no look for the caller
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
