"""Builds and drives the Go programs.

`host/` does to a plugin what the Argo Rollouts controller does; `peer/` is the other end of a yamux session,
or of a log.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.realbed import toolchain

Json = dict[str, Any]
_OPTIONS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w")
_KEPT = 8
MOD_FILES = {"v1.9.1": "go.mod", "v1.10.1": "next.mod"}


def build(release: str, program: str = "host") -> Path:
    """Return a program built with the packages of a release of Argo Rollouts.

    Raises: subprocess.CalledProcessError, when there is no Go, or no module proxy.
    """
    mod = MOD_FILES[release]
    source = Path(__file__).parent / program
    sources = [*source.rglob("*.go"), source / mod, source / mod.replace(".mod", ".sum")]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(sources))).hexdigest()[:16]
    folder = toolchain.cache_folder() / "interop"
    binary = folder / f"{program}-{release}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{program}-{release}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may want the same
        if not binary.exists():
            _drop_old(folder, f"{program}-{release}-*")
            part = binary.with_name(f"{binary.name}.part")
            arguments = ("build", *_OPTIONS, f"-modfile={mod}", "-o", str(part), ".")
            toolchain.run(toolchain.find_go(), *arguments, cwd=source)
            part.rename(binary)
    return binary


def build_tool(package: str) -> Path:
    """Return a Go program that somebody else has written; `tools` is the module that pins it.

    Raises: subprocess.CalledProcessError, when there is no Go, or no module proxy.
    """
    source, name = Path(__file__).parent / "tools", package.rpartition("/")[2]
    digest = hashlib.sha256((source / "go.sum").read_bytes()).hexdigest()[:16]
    folder = toolchain.cache_folder() / "interop"
    binary = folder / f"tool-{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"tool-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            part = binary.with_name(f"{binary.name}.part")
            toolchain.run(toolchain.find_go(), "build", *_OPTIONS, "-o", str(part), package, cwd=source)
            part.rename(binary)
            _drop_old(folder, f"tool-{name}-*")
    return binary


def _drop_old(folder: Path, pattern: str) -> None:
    """Drop the programs of old sources; checkouts beside this one may use the latest ones."""
    found = sorted(folder.glob(pattern), key=lambda file: file.stat().st_mtime)
    for old in found[:-_KEPT]:
        old.unlink()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the host says of one request: a result, or the text of a Go error."""

    result: Any
    error: str
    seconds: float


class Host:
    """A running host program; requests may overlap."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._writing = threading.Lock()
        self._asked: dict[int, Future[Answer]] = {}
        self._numbers = itertools.count(1)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        for line in stdout:
            said = json.loads(line)
            self._asked.pop(said["id"]).set_result(Answer(said["result"], said["error"], said["seconds"]))
        for future in list(self._asked.values()):
            future.set_exception(EOFError("the host program ended"))

    def send(self, op: str, **fields: object) -> "Future[Answer]":
        future: Future[Answer] = Future()
        with self._writing:
            number = next(self._numbers)
            self._asked[number] = future
            stdin = self._process.stdin
            assert stdin is not None
            stdin.write(json.dumps({"id": number, "op": op, **fields}) + "\n")
            stdin.flush()
        return future

    def ask(self, op: str, **fields: object) -> Answer:
        return self.send(op, **fields).result(timeout=30)

    def call(self, method: str, **fields: object) -> Answer:
        return self.ask("call", method=method, **fields)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the host as the controller ends; it lets go of its plugins first."""
        if self._process.poll() is None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                raise
        self._reader.join(10)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@contextlib.contextmanager
def running(
    binary: Path, folder: Path, environment: Mapping[str, str], confinement: Sequence[str] = ()
) -> Iterator[Host]:
    """Start a host in `folder`, where it keeps plugin-bin; its stderr is host.log.

    `confinement` is a command that execs the one given after it.
    """
    with (folder / "host.log").open("w") as log:
        process = subprocess.Popen(
            [*confinement, str(binary)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=folder,
            env=dict(environment),
        )
        host = Host(process)
        try:
            yield host
        finally:
            host.close()
