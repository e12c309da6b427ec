"""When `make file` builds the one file again."""

import subprocess
from pathlib import Path

import pytest

from tests.packaging import release


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    release.copy_sources(folder)
    (folder / "dist").mkdir()
    (folder / "dist" / f"chaosplugin-linux-{release.cpu()}").touch()
    return folder


def _is_built_again(sources: Path, changed: str) -> bool:
    command = ["make", "--question", "--old-file=.venv/.packaging", f"--assume-new={changed}", "file"]
    return subprocess.run(command, cwd=sources, check=False).returncode == 1


@pytest.mark.parametrize(
    "changed",
    [
        *("README.md", "LICENSE", "pyproject.toml", "requirements.lock"),
        *("chaosplugin/cli.py", "packaging/debian.lock", "packaging/launcher/launcher.c"),
    ],
)
def test_a_change_of_what_is_in_it_builds_it_again(sources: Path, changed: str) -> None:
    assert (sources / changed).exists()
    assert _is_built_again(sources, changed)


def test_a_change_of_anything_else_does_not(sources: Path) -> None:
    assert not _is_built_again(sources, "tests/packaging/release.py")
