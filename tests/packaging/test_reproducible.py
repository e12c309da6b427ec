"""The same sources give the same file, wherever and whenever they are built."""

import subprocess
from pathlib import Path

import pytest

from tests.packaging import release

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(1200)]


def test_another_folder_and_another_day_give_the_same_bytes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=True)
    for name in listed.stdout.split("\0")[:-1]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / ".venv").symlink_to(root / ".venv")
    subprocess.run(["make", "--old-file=.venv/.packaging", "file"], cwd=tmp_path, check=True)

    assert (tmp_path / "dist" / release.file().name).read_bytes() == release.file().read_bytes()
