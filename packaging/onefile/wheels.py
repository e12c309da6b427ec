"""The plugin's own wheel, and those of what it needs, for a CPU that need not be this one."""

import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from onefile import slim
from onefile.targets import Target

_ROOT = Path(__file__).parents[2]
_LOCK = _ROOT / "requirements.lock"
_ATTEMPTS = 4


def build(dist: Path) -> Path:
    """Build the source distribution and the wheel into a folder, and return the wheel."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--target", "sdist"]
    subprocess.run([*command, "--directory", dist], cwd=_ROOT, stdout=subprocess.DEVNULL, check=True)
    (wheel,) = dist.glob("*.whl")
    return wheel


def install(target: Target, wheel: Path, folder: Path) -> None:
    """Unpack all that the lock names, and the plugin, as pip does."""
    shutil.rmtree(folder, ignore_errors=True)
    platforms = [f"--platform={platform}" for platform in target.wheel_platforms]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries=10"]
    common = [*pip, "--no-compile", "--no-deps", f"--target={folder}"]
    foreign = ["--only-binary=:all:", "--implementation=cp", "--python-version=3.11", *platforms]
    _tried([*common, *foreign, "--require-hashes", f"--requirement={_LOCK}"])
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(folder)


def _tried(command: list[str]) -> None:
    for attempt in range(1, _ATTEMPTS):
        if subprocess.run(command, check=False).returncode == 0:
            return
        time.sleep(5 * attempt)
    subprocess.run(command, check=True)


def needed(folder: Path, target: Target) -> list[metadata.Distribution]:
    """Return the plugin and what it needs, by name; tools that only build stay behind."""
    there = {
        str(canonicalize_name(found.name)): found for found in metadata.distributions(path=[str(folder)])
    }
    wanted, left = set[str](), ["chaosplugin"]
    while left:
        name = left.pop()
        if name not in wanted and slim.is_wanted_distribution(name):
            wanted.add(name)
            left += _requires(there[name], target)
    return [there[name] for name in sorted(wanted)]


def _requires(distribution: metadata.Distribution, target: Target) -> Iterator[str]:
    environment = {
        "extra": "",
        "platform_machine": target.machine,
        "python_full_version": "3.11.2",
        "python_version": "3.11",
        "sys_platform": "linux",
    }
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield str(canonicalize_name(requirement.name))
