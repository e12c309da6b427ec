"""File descriptor 2, shared with a host that may not read it.

    log records --> Writer: bounded queue, thread --> the host's pipe
    fd 2 (prints, C code, child processes) --> Pump: lines --> Writer

Nobody waits for the host but the writer's own thread: what finds the queue full is dropped, counted and,
once there is room, told. Child processes inherit our pipe, not the host's, which would make the host wait
for them after our end.
"""

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_MAX_QUEUED: Final = 4 * 1024 * 1024  # bytes
_AT_ONCE: Final = 64 * 1024  # bytes, about
_PAUSE_S: Final = 0.005  # from one write to the next, as each takes the interpreter from the loop
_MAX_FOREIGN_LINE: Final = 16 * 1024  # bytes; longer ones are cut to pieces
_UNFINISHED_MS: Final = 200  # then a line without a newline is passed on as it is


class Writer:
    """Writes whole lines to `fd` in a thread; `dropped` makes the line that tells of losses."""

    def __init__(self, fd: int, dropped: Callable[[int], str]) -> None:
        self._fd = fd
        self._tell = dropped
        self._changed = threading.Condition()
        self._lines: deque[bytes] = deque()
        self._queued = 0
        self._dropped = 0
        self._writing = False
        self._broken = False
        threading.Thread(target=self._run, name="stderr", daemon=True).start()

    def write(self, text: str) -> None:
        """Queue whole lines, each with a newline or not; never waits."""
        for line in text.splitlines():
            self._put(line.encode("ascii", "backslashreplace") + b"\n")

    def drain(self, timeout_s: float) -> None:
        """Wait until all is written, but not longer."""
        with self._changed:
            self._changed.wait_for(lambda: not self._lines and not self._writing, timeout_s)

    def _put(self, line: bytes) -> None:
        with self._changed:
            if self._broken:
                return
            if self._queued + len(line) > _MAX_QUEUED:
                self._dropped += 1
                return
            self._lines.append(line)
            self._queued += len(line)
            if len(self._lines) == 1 and not self._writing:  # else the thread is on its way
                self._changed.notify_all()

    def _run(self) -> None:
        try:
            while True:
                self._write(self._next())
                time.sleep(_PAUSE_S)
        except OSError:  # the host is gone, nobody will ever read this
            with self._changed:
                self._broken = True
                self._writing = False
                self._lines.clear()
                self._changed.notify_all()

    def _next(self) -> bytes:
        with self._changed:
            if not self._lines:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._lines)
                self._writing = True
            if self._dropped:
                lost, self._dropped = self._dropped, 0
                return self._tell(lost).encode("ascii") + b"\n"
            taken, size = [], 0
            while self._lines and size < _AT_ONCE:
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._queued -= size
            return b"".join(taken)

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody made the shared pipe non-blocking
                select.select((), (self._fd,), ())


class Pump:
    """Makes lines of what comes out of the pipe `fd`, in a thread, until it ends."""

    def __init__(self, fd: int, line: Callable[[str], None]) -> None:
        self._fd = fd
        self._line = line
        self._thread = threading.Thread(target=self._run, name="foreign stderr", daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of the pipe, which child processes may hold open."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        rest = b""
        while True:
            if rest and (not poll.poll(_UNFINISHED_MS) or len(rest) >= _MAX_FOREIGN_LINE):
                self._pass_on(rest[:_MAX_FOREIGN_LINE])
                rest = rest[_MAX_FOREIGN_LINE:]
                continue
            data = os.read(self._fd, _MAX_FOREIGN_LINE)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._pass_on(line)
        if rest:
            self._pass_on(rest)
        os.close(self._fd)

    def _pass_on(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if text:
            self._line(text)
