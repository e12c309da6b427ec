"""Plugin processes without a controller."""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_READY_S = 30
_COOKIE = {"ARGO_ROLLOUTS_RPC_PLUGIN": "metricprovider", "PLUGIN_PROTOCOL_VERSIONS": "1"}


class Started:
    """A running plugin that has said where it listens."""

    def __init__(self, process: subprocess.Popen[str], ready: str) -> None:
        self.pid = process.pid
        self.address = ""
        self._process = process
        self.counted = 0
        """lines of the log, since `count` was called, that hold what it names"""
        self._counts = ""
        self._ready = threading.Event()
        if not ready:
            self._ready.set()
        self._mark = ready
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()
        if process.stdout is not None:
            self.address = process.stdout.readline().split("|")[3]

    def wait_until_ready(self) -> None:
        """Wait for the line of the log that tells it."""
        if not self._ready.wait(_READY_S):
            raise TimeoutError(f"no line of the log has {self._mark}")

    def count(self, words: str) -> None:
        """Count lines of the log from now on."""
        self.counted, self._counts = 0, words

    def close(self) -> None:
        """End the process, and read what it still says."""
        self._process.terminate()
        self._reader.join()

    def resident(self) -> float:
        """Return the resident memory in MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ValueError("no VmRSS")

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _read_log(self) -> None:
        for line in self._process.stderr or ():
            if self._mark and self._mark in line:
                self._ready.set()
            if self._counts and self._counts in line:
                self.counted += 1


@dataclass(frozen=True, slots=True)
class Plugin:
    """How to start one; `ready` stands in the line of its log that says that all is loaded."""

    command: tuple[str, ...]
    ready: str = ""

    @contextmanager
    def start(self, environment: Mapping[str, str]) -> Iterator[Started]:
        """Start it, and return when the handshake line is there."""
        with subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, **_COOKIE},
        ) as process:
            started = Started(process, self.ready)
            try:
                yield started
            finally:
                started.close()
