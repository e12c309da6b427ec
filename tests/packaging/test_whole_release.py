"""`make release`: all that a release carries is there, agrees with its sums, and can be used."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaosplugin import __version__
from tests.e2e import rendering
from tests.packaging import release
from tests.packaging.test_image import Buildah

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1200)]
_CPUS = ("amd64", "arm64")
_OURS = f"chaosplugin-{__version__}"


def _git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com"]
    done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A commit of what is here now."""
    folder = tmp_path_factory.mktemp("sources")
    release.copy_sources(folder)
    _git(folder, "init", "--quiet")
    (folder / ".git" / "info" / "exclude").write_text(".venv\n")  # a link is no folder, as .gitignore has it
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message=Release")
    return folder


def _release(sources: Path) -> "subprocess.CompletedProcess[str]":
    command = ["make", "--old-file=.venv/.packaging", "release"]
    return subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def dist(sources: Path) -> Path:
    done = _release(sources)
    assert done.returncode == 0, done.stderr
    return sources / "dist"


def test_it_carries_what_it_must_and_the_sums_of_all(dist: Path) -> None:
    files = [f"chaosplugin-linux-{cpu}" for cpu in _CPUS]
    wanted = {
        *files,
        *(f"{file}.cdx.json" for file in files),
        *(f"chaosplugin-image-{cpu}.tar" for cpu in _CPUS),
        *("LICENSES.txt", "NOTES.md", "SHA256SUMS"),
        *(f"{_OURS}-py3-none-any.whl", f"{_OURS}.tar.gz", f"{_OURS}-deploy.tar.gz"),
    }
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    done = subprocess.run(check, cwd=dist, capture_output=True, text=True, check=False)

    assert {file.name for file in dist.iterdir()} == wanted
    assert (done.returncode, done.stdout) == (0, "")
    assert len((dist / "SHA256SUMS").read_text().splitlines()) == len(wanted) - 1
    for file in files:
        digest = hashlib.sha256((dist / file).read_bytes()).hexdigest()
        assert digest in (dist / f"{file}.cdx.json").read_text()


def test_its_notes_are_the_changelogs(dist: Path) -> None:
    notes = (dist / "NOTES.md").read_text()

    assert notes.startswith(f"# chaosplugin {__version__}\n\n### ")
    assert "## [" not in notes


@pytest.mark.parametrize("cpu", _CPUS)
def test_its_images_hold_the_file_of_their_cpu(dist: Path, tmp_path: Path, cpu: str) -> None:
    buildah = Buildah(tmp_path)
    image = buildah("pull", "--quiet", f"oci-archive:{dist}/chaosplugin-image-{cpu}.tar")
    container = buildah("from", image)
    root = Path(buildah("mount", container))

    assert buildah("inspect", "--type=image", "--format={{.OCIv1.Architecture}}", image) == cpu
    assert __version__ in buildah("inspect", "--type=image", "--format={{.OCIv1.Config.Labels}}", image)
    assert (root / "chaosplugin").read_bytes() == (dist / f"chaosplugin-linux-{cpu}").read_bytes()
    assert sorted(path.name for path in root.iterdir()) == ["chaosplugin", "tmp"]


@pytest.mark.parametrize("name", [f"{_OURS}-py3-none-any.whl", f"{_OURS}.tar.gz"])
def test_wheel_and_sources_can_be_installed(dist: Path, tmp_path: Path, name: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, f"--target={tmp_path}", dist / name], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    program = "import chaosplugin.cli as cli; print(cli.__file__); cli.main(['--version'])"
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)

    assert said.stdout.split("\n")[:2] == [f"{tmp_path}/chaosplugin/cli.py", f"chaosplugin {__version__}"]


def test_its_manifests_are_built_by_kustomize_and_name_its_image(dist: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xzf", dist / f"{_OURS}-deploy.tar.gz"], cwd=tmp_path, check=True)
    folder = tmp_path / _OURS

    assert sorted(path.name for path in folder.iterdir()) == ["deploy", "examples", "observability"]
    assert f"image: chaosplugin:{__version__}" in rendering.kustomized(folder / "deploy" / "server")


def test_sources_that_are_not_committed_are_refused(sources: Path, dist: Path) -> None:
    before = (dist / "SHA256SUMS").read_bytes()
    (sources / "chaosplugin" / "new.py").touch()
    done = _release(sources)
    (sources / "chaosplugin" / "new.py").unlink()

    assert done.returncode != 0
    assert "commit first, a release is made of what is committed:\n?? chaosplugin/new.py" in done.stderr
    assert (dist / "SHA256SUMS").read_bytes() == before
