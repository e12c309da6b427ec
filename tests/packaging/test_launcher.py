"""What the launcher meets on disks, and what it says where it cannot go on."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.leftovers import until
from tests.packaging.bareroot import PLUGIN, USER, BareRoot

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def _works(said: "subprocess.CompletedProcess[str]") -> bool:
    return said.returncode == 0 and said.stdout.startswith("chaosplugin ") and not said.stderr


def _refusal(said: "subprocess.CompletedProcess[str]") -> str:
    assert said.returncode == 126
    assert said.stdout == ""
    assert said.stderr.startswith("[ERROR] chaosplugin: ")
    assert said.stderr.count("\n") == 1
    return said.stderr


# -- places


def test_a_read_only_plugin_bin_makes_it_unpack_to_tmp(bare: BareRoot) -> None:
    assert _works(bare.run("--version", home="ro"))
    assert len(bare.trees(bare.tmp)) == 1
    assert bare.trees() == []


def test_a_tmp_that_is_noexec_is_passed_over(bare: BareRoot) -> None:
    bare.file.parent.chmod(0o777)  # not private, so tmp would come first

    assert "/tmp: mounted noexec" in _refusal(bare.run("--version", tmp="noexec"))
    assert _works(bare.run("--version", environment={"CHAOSPLUGIN_CACHE": "/plugin-bin"}, tmp="noexec"))


def test_nowhere_to_unpack_is_one_line_that_names_each_place(bare: BareRoot) -> None:
    message = _refusal(bare.run("--version", home="ro", tmp="ro"))

    assert "/plugin-bin/chaosplugin: Read-only file system" in message
    assert "/tmp: Read-only file system" in message
    assert "CHAOSPLUGIN_CACHE" in message


def test_a_full_disk_is_said_and_nothing_is_left_on_it(bare: BareRoot) -> None:
    message = _refusal(bare.run("--version", home="ro", tmp="full"))

    assert "/tmp: too little space" in message


def test_a_file_system_that_tells_no_size_is_not_taken_for_full(bare: BareRoot) -> None:
    assert _works(bare.run("--version", home="ro", tmp="endless"))


def test_a_cache_that_is_no_absolute_path_is_named(bare: BareRoot) -> None:
    said = bare.run("--version", environment={"CHAOSPLUGIN_CACHE": "plugin-bin"}, home="ro", tmp="ro")

    assert "; plugin-bin: no absolute path; " in _refusal(said)


def test_a_cache_whose_path_the_loader_would_split_is_passed_over(bare: BareRoot) -> None:
    (bare.cache / "a:b").mkdir(mode=0o777)
    (bare.cache / "a:b").chmod(0o777)
    place = "/plugin-bin/chaosplugin/a:b"

    assert _works(bare.run("--version", environment={"CHAOSPLUGIN_CACHE": place}))
    said = bare.run("--version", environment={"CHAOSPLUGIN_CACHE": place}, home="ro", tmp="ro")
    assert f"; {place}: its path has a : ; or $" in _refusal(said)


def test_too_little_memory_is_not_taken_for_a_damaged_file(bare: BareRoot) -> None:
    limited = ["prlimit", "--as=32000000", *bare.command("--version")]
    said = subprocess.run(limited, env=dict(os.environ), capture_output=True, text=True, check=False)

    assert "; /tmp: Out of memory" in _refusal(said)  # where no earlier test has left a tree


def test_a_given_cache_comes_first(bare: BareRoot) -> None:
    said = bare.run("--version", environment={"CHAOSPLUGIN_CACHE": "/tmp"})

    assert _works(said)
    assert len(bare.trees(bare.tmp)) == 1
    assert bare.trees() == []


# -- strangers


def _tree_name(bare: BareRoot) -> str:
    bare.run("--version")
    (tree,) = bare.trees()
    shutil.rmtree(tree)
    return tree.name


def test_a_folder_planted_by_somebody_else_is_refused(bare: BareRoot) -> None:
    planted = bare.tmp / _tree_name(bare)
    planted.mkdir()
    planted.chmod(0o777)

    assert "belongs to somebody else" in _refusal(bare.run("--version", home="ro"))
    assert planted.exists()


def test_a_folder_of_ours_that_others_may_write_to_is_refused(bare: BareRoot) -> None:
    planted = bare.tmp / _tree_name(bare)
    planted.mkdir()
    os.chown(planted, USER, USER)
    planted.chmod(0o777)

    assert "others may write to it" in _refusal(bare.run("--version", home="ro"))


def test_a_planted_symlink_is_not_followed(bare: BareRoot) -> None:
    name = _tree_name(bare)
    elsewhere = bare.tmp / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, USER, USER)
    (bare.tmp / name).symlink_to("elsewhere")

    assert "is no folder" in _refusal(bare.run("--version", home="ro"))
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("plant", [Path.touch, lambda lock: lock.symlink_to("/plugin-bin/x")])
def test_a_planted_lock_file_is_refused(bare: BareRoot, plant: object) -> None:
    assert callable(plant)
    plant(bare.tmp / f".chaosplugin-{USER}.lock")

    assert "/tmp: " in _refusal(bare.run("--version", home="ro"))


# -- damage


def test_a_start_that_was_killed_while_unpacking_is_begun_anew(bare: BareRoot) -> None:
    part = bare.cache / f"{_tree_name(bare)}.part"
    (part / "lib").mkdir(parents=True)
    (part / "lib" / "libc.so.6").write_text("half")
    for path in (part, part / "lib", part / "lib" / "libc.so.6"):
        os.chown(path, USER, USER)

    assert _works(bare.run("--version"))
    assert not part.exists()


def _lose(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(100)


def _garble(file: Path) -> None:
    """Change content, not size: what a power cut may leave."""
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("damage", [_lose, _cut, _garble])
@pytest.mark.parametrize("name", ["stdlib.zip", "lib/libc.so.6", ".manifest"])
def test_a_damaged_tree_is_unpacked_again(bare: BareRoot, damage: object, name: str) -> None:
    bare.run("--version")
    (tree,) = bare.trees()
    (tree / ".durable").unlink(missing_ok=True)
    assert callable(damage)
    damage(tree / name)

    assert _works(bare.run("--version"))
    assert any((tree / name).read_bytes())


def _change_later(file: Path, mark: Path, change: Callable[[Path], None]) -> None:
    """Change a file until its time tells it, which goes by the ticks of the kernel's clock."""
    while file.stat().st_ctime_ns <= mark.stat().st_ctime_ns:
        change(file)


def test_a_file_that_was_changed_after_it_was_known_to_be_whole_is_found(bare: BareRoot) -> None:
    bare.run("--version")
    (tree,) = bare.trees()
    (tree / ".durable").touch()
    _change_later(tree / "stdlib.zip", tree / ".durable", _garble)

    assert _works(bare.run("--version"))


def test_a_file_that_was_only_touched_is_looked_at_once(bare: BareRoot) -> None:
    """As where a volume gets new labels whenever its container starts."""
    bare.run("--version")
    (tree,) = bare.trees()
    mark, touched = tree / ".durable", tree / "stdlib.zip"
    mark.touch()
    made = tree.stat().st_ino
    _change_later(touched, mark, lambda file: file.touch())
    with bare.running({}) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        until(lambda: mark.exists() and mark.stat().st_ctime_ns > touched.stat().st_ctime_ns, 60)

    assert tree.stat().st_ino == made


@pytest.mark.parametrize("lost", [1, 5_000_000])
def test_a_file_that_is_cut_off_says_so(bare: BareRoot, lost: int) -> None:
    with bare.file.open("r+b") as opened:
        opened.truncate(bare.file.stat().st_size - lost)

    assert "cut off" in _refusal(bare.run("--version"))


def test_a_changed_byte_in_the_payload_is_found(bare: BareRoot) -> None:
    with bare.file.open("r+b") as opened:
        opened.seek(5_000_000)
        byte = opened.read(1)
        opened.seek(5_000_000)
        opened.write(bytes([byte[0] ^ 1]))

    assert "the plugin's file is damaged" in _refusal(bare.run("--version"))
    assert bare.trees() == []


# -- several


def test_ten_first_starts_at_once_share_one_tree(bare: BareRoot) -> None:
    said: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: said.append(bare.run("--version"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [_works(each) for each in said] == [True] * 10
    assert len(bare.trees()) == 1


@pytest.fixture
def other(bare: BareRoot) -> Path:
    """The tree of another version."""
    tree = bare.cache / f".chaosplugin-{USER}-{'0' * 24}"
    tree.mkdir(mode=0o700)
    os.chown(tree, USER, USER)
    return tree


@contextlib.contextmanager
def _held(tree: Path) -> Iterator[None]:
    """Hold it as a process of that version does."""
    folder = os.open(tree, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_SH)
    yield
    os.close(folder)


def test_another_versions_tree_is_removed_when_nobody_uses_it(bare: BareRoot, other: Path) -> None:
    with _held(other):
        bare.run("--version")
        kept = other.exists()
    bare.run("--version")

    assert kept
    assert not other.exists()
    assert len(bare.trees()) == 1


def test_another_versions_tree_goes_first_where_there_is_room_for_one(bare: BareRoot, other: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=90m,mode=0777", "tmpfs", bare.tmp], check=True)
    try:
        moved = Path(shutil.copytree(other, bare.tmp / other.name))
        (moved / "stdlib.zip").write_bytes(bytes(60_000_000))
        shutil.chown(moved, USER, USER)
        said = bare.run("--version", environment={"CHAOSPLUGIN_CACHE": "/tmp"}, home="ro")

        assert _works(said), said.stderr
        assert not moved.exists()
    finally:
        subprocess.run(["umount", bare.tmp], check=True)


def test_a_folder_of_somebody_else_is_not_taken_for_a_tree_of_another_version(bare: BareRoot) -> None:
    strange = bare.tmp / f".chaosplugin-{USER}-{'1' * 24}"
    strange.mkdir()
    strange.chmod(0o777)
    (strange / "precious").touch()

    assert _works(bare.run("--version", home="ro"))
    assert (strange / "precious").exists()


@pytest.mark.parametrize("files", range(4, 16))
def test_a_process_that_may_open_few_files_removes_no_tree_in_use(
    bare: BareRoot, other: Path, files: int
) -> None:
    with _held(other):
        limited = ["prlimit", f"--nofile={files}:{files}", *bare.command("--version")]
        subprocess.run(limited, capture_output=True, check=False)

        assert other.exists()


def test_a_running_plugin_holds_its_tree(bare: BareRoot) -> None:
    with bare.running({}) as outer:
        assert outer.stdout is not None
        outer.stdout.readline()
        (tree,) = bare.trees()
        folder = os.open(tree, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(folder)


# -- install


def test_install_copies_the_file_whole_and_needs_nothing(bare: BareRoot) -> None:
    said = bare.run("install", "/plugin-bin/copy", tmp="ro")
    copy = bare.cache.parent / "copy"

    assert (said.returncode, said.stdout) == (0, "installed /plugin-bin/copy\n")
    assert copy.read_bytes() == bare.file.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o755
    assert bare.trees() == []


def test_install_into_a_folder_and_over_an_old_copy(bare: BareRoot) -> None:
    target = bare.tmp / "chaosplugin"
    target.write_text("old")
    (bare.tmp / "chaosplugin.part").write_text("left by an init container that was killed")
    said = bare.run("install", "/tmp")

    assert said.stdout == "installed /tmp/chaosplugin\n"
    assert target.read_bytes() == bare.file.read_bytes()
    assert [path.name for path in bare.tmp.iterdir()] == ["chaosplugin"]


@pytest.mark.parametrize("arguments", [[], ["/tmp", "/plugin-bin"]])
def test_install_without_a_place_or_with_two_is_refused_and_unpacks_nothing(
    bare: BareRoot, arguments: list[str]
) -> None:
    assert "install wants one argument" in _refusal(bare.run("install", *arguments))
    assert bare.trees() == []


def test_several_may_install_at_once(bare: BareRoot) -> None:
    said: list[subprocess.CompletedProcess[str]] = []
    threads = [threading.Thread(target=lambda: said.append(bare.run("install", "/tmp"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [(each.returncode, each.stdout) for each in said] == [(0, "installed /tmp/chaosplugin\n")] * 10
    assert (bare.tmp / "chaosplugin").read_bytes() == bare.file.read_bytes()
    assert [path.name for path in bare.tmp.iterdir()] == ["chaosplugin"]


def test_what_a_stranger_has_begun_to_install_is_not_written_to(bare: BareRoot) -> None:
    planted = bare.tmp / "chaosplugin.part"
    planted.touch(0o666)
    planted.chmod(0o666)
    with planted.open("r+b") as kept:
        assert bare.run("install", "/tmp").returncode == 0
        assert kept.read() == b""
    assert (bare.tmp / "chaosplugin").stat().st_uid == USER


def test_install_on_a_full_disk_leaves_nothing_and_says_why(bare: BareRoot) -> None:
    assert "No space left on device" in _refusal(bare.run("install", "/tmp/copy", tmp="full"))


def test_the_path_of_the_file_may_be_relative_or_a_link(tmp_path: Path, bare: BareRoot) -> None:
    link = tmp_path / "link"
    link.symlink_to(bare.root.with_name("root.folders") / PLUGIN)
    said = subprocess.run(["./link", "--version"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert _works(said)
