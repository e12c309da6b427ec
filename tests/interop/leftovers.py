"""What a plugin may leave behind: nothing."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def children(pid: int) -> list[int]:
    """Return the living children of a process, without zombies."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            state, parent = _state(int(folder.name))
            if parent == pid and state != "Z":
                found.append(int(folder.name))
    return found


def lives(pid: int) -> bool:
    return _state(pid)[0] not in ("", "Z")


def _state(pid: int) -> tuple[str, int]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "", 0
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def files(folder: Path) -> list[str]:
    """Return everything below a folder, sockets too."""
    return [os.path.relpath(path, folder) for path in folder.rglob("*")]


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for a condition. Raises: TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)
