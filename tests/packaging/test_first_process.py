"""A container's first process, to which the kernel gives no signal that nobody handles."""

import signal
import subprocess
from pathlib import Path

import pytest

from tests.interop.leftovers import children, until
from tests.packaging import release

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


def _holds_back(pid: int) -> bool:
    """Tell whether SIGTERM waits, which it does from the file's first moment on."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    blocked = next(line.split()[1] for line in lines if line.startswith("SigBlk:"))
    return bool(int(blocked, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("serving", [False, True])
def test_sigterm_ends_it_whenever_it_comes(tmp_path: Path, serving: bool) -> None:
    program = [str(release.file()), "sandbox", "--folder", str(tmp_path / "bed")]
    container = ["unshare", "--pid", "--fork", "--kill-child"]
    with subprocess.Popen(
        [*container, *program],
        env={"CHAOSPLUGIN_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            if serving:
                process.stdout.readline()
            until(lambda: children(process.pid))
            (first,) = children(process.pid)
            until(lambda: _holds_back(first) is not serving)
            subprocess.run(["kill", "-TERM", str(first)], check=True)

            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in errors
