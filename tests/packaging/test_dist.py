"""Where a build ends: what is in that folder besides stays there."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from onefile import dist


def _publish(folder: Path, files: Mapping[str, str], *, whole: bool) -> None:
    made = folder.with_name("made")
    made.mkdir(exist_ok=True)
    for name, text in files.items():
        (made / name).write_text(text)
    dist.publish(made, folder, whole=whole)
    check = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    subprocess.run(check, cwd=folder, check=True)


def _summed(folder: Path) -> list[str]:
    return [line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dist"


def test_what_was_made_is_there_with_its_sums(folder: Path) -> None:
    _publish(folder, {"chaosplugin-linux-amd64": "file", "LICENSES.txt": "terms"}, whole=True)

    assert _summed(folder) == ["LICENSES.txt", "chaosplugin-linux-amd64"]
    assert sorted(path.name for path in folder.parent.joinpath("made").iterdir()) == []


def test_a_build_for_one_cpu_leaves_the_others(folder: Path) -> None:
    _publish(folder, {"chaosplugin-linux-amd64": "old", "chaosplugin-linux-arm64": "old"}, whole=True)
    _publish(folder, {"chaosplugin-linux-amd64": "new"}, whole=False)

    assert _summed(folder) == ["chaosplugin-linux-amd64", "chaosplugin-linux-arm64"]
    assert (folder / "chaosplugin-linux-amd64").read_text() == "new"
    assert (folder / "chaosplugin-linux-arm64").read_text() == "old"


def test_of_the_last_version_nothing_stays(folder: Path) -> None:
    _publish(folder, {"chaosplugin-0.1.0.tar.gz": "old", "NOTES.md": "old"}, whole=True)
    _publish(folder, {"chaosplugin-0.2.0.tar.gz": "new"}, whole=True)

    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "chaosplugin-0.2.0.tar.gz"]


def test_what_no_build_has_made_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis").mkdir()
    strangers = ("thesis/text", "chaosplugin-notes.txt", "debian.iso")
    for name in strangers:
        (folder / name).write_text("precious")
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  debian.iso\n{'0' * 64}  ../made\nno sum\n")
    _publish(folder, {"chaosplugin-linux-amd64": "file"}, whole=True)
    _publish(folder, {"chaosplugin-linux-amd64": "again"}, whole=True)

    assert [(folder / name).read_text() for name in strangers] == ["precious"] * 3
    assert _summed(folder) == ["chaosplugin-linux-amd64"]
