"""The Dockerfile from its first stage on, in a Debian that has nothing; that builds, too, what is built here.

The base image is behind a registry. What stands for it is made of the packages that it is made of.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from chaosplugin import __version__
from tests.packaging import release, tools
from tests.packaging.test_image import Buildah

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1800)]
_ROOT = Path(__file__).parents[2]
_BASE = "debian:bookworm-slim"
# how this machine reaches mirrors
_NETWORK = (
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/pip.conf",
    "usr/local/share/ca-certificates",
)


def _make_base(buildah: Buildah, root: Path) -> None:
    debootstrap = tools.from_debian("debootstrap", "debootstrap")
    listed = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"]
    mirror = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()[0]
    command = [str(debootstrap), "--variant=minbase", "bookworm", str(root), mirror]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (root / "etc/apt/sources.list").unlink()
    for name in _NETWORK:
        if Path("/", name).is_dir():
            shutil.copytree(Path("/", name), root / name, dirs_exist_ok=True)
        elif Path("/", name).exists():
            shutil.copy(Path("/", name), root / name)
    container = buildah("from", "scratch")
    buildah("add", "--quiet", container, str(root), "/")
    buildah("commit", "--quiet", container, _BASE)


def test_it_builds_the_very_file_that_is_built_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where buildah keeps what a stage caches
    buildah = Buildah(tmp_path)
    _make_base(buildah, tmp_path / "debian")
    how = ["--pull=never", "--isolation=chroot", "--network=host", "--ulimit=nofile=16384:16384"]
    image = buildah("build", "--quiet", *how, f"--build-arg=VERSION={__version__}", str(_ROOT))
    root = Path(buildah("mount", buildah("from", image)))

    assert sorted(path.name for path in root.iterdir()) == ["chaosplugin", "tmp"]
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "chaosplugin").read_bytes() == release.file().read_bytes()
