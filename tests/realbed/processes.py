"""Child processes that never outlive their parent, each with a log of its own."""

import ctypes
import os
import re
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.realbed.api import ApiError

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_SERVERS = range(15_000, 32_000)
"""Below what Linux gives to outgoing connections: many of those begin before a server has its port."""


def free_port() -> int:
    """Pick a port of 127.0.0.1 that is free now, and that no outgoing connection is given meanwhile."""
    while True:
        port = secrets.choice(_SERVERS)
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


class NotInTime(RuntimeError):
    """A process ended, or a condition did not come true; carries the end of the process's log."""


class Processes:
    """Processes by name, with logs in `work`/log and state below `work`.

    `times` are the seconds that each wait took.
    """

    def __init__(self, work: Path) -> None:
        self.work = work
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.times: dict[str, float] = {}
        self._env = {"PATH": os.environ["PATH"], "HOME": str(work), "TMPDIR": str(work / "tmp")}
        for folder in ("log", "tmp"):
            (work / folder).mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        *command: object,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        parent_died: signal.Signals = signal.SIGKILL,
    ) -> None:
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd or self.work,
                env={**self._env, **(env or {})},
                preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, parent_died),  # noqa: PLW1509  # calls no Python lock
            )

    def log(self, name: str) -> Path:
        return self.work / "log" / f"{name}.log"

    def stop(self, name: str, *, kill: bool = False) -> None:
        process = self.running.pop(name, None)
        if process is None or process.poll() is not None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def until(self, what: str, name: str, check: Callable[[], object], seconds: float = 90) -> None:
        """Wait until `check` is true; process `name` must live meanwhile.

        Raises: NotInTime.
        """
        start = time.monotonic()
        while not _succeeds(check):
            ended = self.running[name].poll()
            if ended is not None or time.monotonic() - start > seconds:
                tail = self.log(name).read_text(errors="replace")[-3000:]
                raise NotInTime(f"{what}: {'not in time' if ended is None else f'exit {ended}'}\n{tail}")
            time.sleep(0.05)
        self.times[what] = round(time.monotonic() - start, 2)

    def resident_mib(self) -> dict[str, int]:
        sizes = {}
        for name, process in self.running.items():
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())
            sizes[name] = int(found[1]) // 1024 if found else 0
        return sizes


def _succeeds(check: Callable[[], object]) -> bool:
    try:
        return bool(check())
    except (ApiError, OSError):
        return False
