"""Programs from Debian's packages, for tests that run as root."""

import shutil
import subprocess
from pathlib import Path


def from_debian(program: str, package: str) -> Path:
    """Return a program, installed where it is missing."""
    if shutil.which(program) is None:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        wait = "DPkg::Lock::Timeout=300"
        install = ["apt-get", "install", "--yes", "-qq", "--no-install-recommends", "-o", wait, package]
        subprocess.run(install, check=True, env={"DEBIAN_FRONTEND": "noninteractive", "PATH": _PATH})
    found = shutil.which(program)
    assert found, f"{package} has no {program}"
    return Path(found)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
