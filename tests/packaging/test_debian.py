"""Debian's packages: the lock, and what happens when the archive has gone on."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from onefile import debian, targets

AMD64 = targets.TARGETS["amd64"]


def test_the_lock_pins_each_package_for_both_cpus() -> None:
    debs = debian.read_lock()

    assert {(deb.name, deb.target) for deb in debs} == {
        (n, cpu) for n in debian.PACKAGES for cpu in targets.TARGETS
    }
    assert all(re.fullmatch("[0-9a-f]{64}", deb.sha256) for deb in debs)
    assert "://" not in debian.LOCK.read_text()


Publish = Callable[[str], debian.Deb]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Return what puts a version of the only package into an archive, in the place of the one before."""
    archive = tmp_path / "archive"
    sources = tmp_path / "sources.list"
    sources.write_text(f"deb [trusted=yes] file:{archive} ./\n")
    monkeypatch.setattr(debian, "SOURCES", (str(sources),))
    monkeypatch.setattr(debian, "PACKAGES", {"libc6": "LGPL-2.1-or-later"})
    monkeypatch.setattr(debian, "LOCK", tmp_path / "debian.lock")

    def put(version: str) -> debian.Deb:
        content = tmp_path / "content"
        (content / "DEBIAN").mkdir(parents=True, exist_ok=True)
        fields = f"Package: libc6\nVersion: {version}\nArchitecture: amd64\n"
        (content / "DEBIAN" / "control").write_text(f"{fields}Maintainer: nobody <a@b>\nDescription: x\n")
        (content / "version").write_text(version)
        archive.mkdir(exist_ok=True)
        for old in archive.iterdir():
            old.unlink()
        file = archive / f"libc6_{version}_amd64.deb"
        subprocess.run(["dpkg-deb", "--build", "-Znone", content, file], check=True, capture_output=True)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        about = f"Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"
        listed = f"{fields}{about}".encode()
        (archive / "Packages").write_bytes(listed)
        sum_of_list = f" {hashlib.sha256(listed).hexdigest()} {len(listed)} Packages\n"
        (archive / "Release").write_text(f"Codename: bookworm\nSHA256:\n{sum_of_list}")
        return debian.Deb("libc6", version, "amd64", digest)

    return put


def _lock(deb: debian.Deb) -> None:
    debian.LOCK.write_text(f"{deb.line()}\n")


@pytest.mark.system
def test_a_locked_version_is_fetched_once_and_kept(publish: Publish, tmp_path: Path) -> None:
    wanted = publish("1.0")
    _lock(wanted)
    first = debian.fetch(AMD64, tmp_path / "cache", locked=True)
    publish("2.0")
    again = debian.fetch(AMD64, tmp_path / "cache", locked=True)
    debian.unpack(again.values(), tmp_path / "root")

    assert first == again
    assert list(first) == [wanted]
    assert (tmp_path / "root" / "version").read_text() == "1.0"


@pytest.mark.system
def test_a_version_that_has_gone_is_replaced_and_that_is_said(
    publish: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _lock(publish("1.0"))
    current = publish("2.0")

    assert list(debian.fetch(AMD64, tmp_path / "cache", locked=False)) == [current]
    assert (
        "no libc6 1.0 for amd64 any more; 2.0 is taken, `make lock-debian` pins it" in capsys.readouterr().err
    )


@pytest.mark.system
def test_a_release_insists_on_the_lock(publish: Publish, tmp_path: Path) -> None:
    _lock(publish("1.0"))
    publish("2.0")

    with pytest.raises(debian.DebianError, match="run `make lock-debian`, and commit what it chose"):
        debian.fetch(AMD64, tmp_path / "cache", locked=True)


@pytest.mark.system
def test_a_package_that_is_not_what_was_pinned_is_refused(publish: Publish, tmp_path: Path) -> None:
    wanted = publish("1.0")
    _lock(debian.Deb("libc6", "1.0", "amd64", "0" * 64))

    with pytest.raises(debian.DebianError, match="any more"):
        debian.fetch(AMD64, tmp_path / "cache", locked=True)
    assert wanted.sha256 != "0" * 64
