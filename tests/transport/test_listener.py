import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosplugin.transport.folder import PrivateFolder, remove_stale
from chaosplugin.transport.listener import CannotListenError, Listener, listen


def folder_of(listener: Listener) -> Path:
    return Path(listener.path).parent.parent


def test_the_hosts_folder_goes_before_tmpdir(tmp_path: Path) -> None:
    wanted, other = tmp_path / "a", tmp_path / "b"
    wanted.mkdir()
    other.mkdir()
    listener = listen({"PLUGIN_UNIX_SOCKET_DIR": str(wanted), "TMPDIR": str(other)})
    assert folder_of(listener) == wanted
    listener.close()
    assert list(wanted.iterdir()) == []


def test_a_host_may_connect_before_anybody_accepts(tmp_path: Path) -> None:
    listener = listen({"TMPDIR": str(tmp_path)})
    with socket.socket(socket.AF_UNIX) as host:
        host.connect(listener.path)
    listener.close()


@pytest.mark.parametrize("bad", ["a" * 90, "a|b", "missing", "line\nbreak"])
def test_a_folder_that_will_not_do_is_passed_over(tmp_path: Path, bad: str) -> None:
    if bad != "missing":
        (tmp_path / bad).mkdir()
    listener = listen({"PLUGIN_UNIX_SOCKET_DIR": str(tmp_path / bad), "TMPDIR": str(tmp_path)})
    assert folder_of(listener) == tmp_path
    listener.close()


def test_a_tmpdir_that_is_too_long_gives_way_to_tmp(tmp_path: Path) -> None:
    long = tmp_path / ("a" * 90)
    long.mkdir()
    listener = listen({"TMPDIR": str(long)})
    assert str(folder_of(listener)) == "/tmp"  # noqa: S108
    listener.close()


def test_no_folder_at_all_names_each_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> PrivateFolder:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("chaosplugin.transport.listener.PrivateFolder", refuse)
    with pytest.raises(CannotListenError) as caught:
        listen({"PLUGIN_UNIX_SOCKET_DIR": "/x" * 60, "TMPDIR": str(tmp_path)})
    assert str(caught.value) == (
        "no folder for a socket; "
        f"{'/x' * 60}: 153 bytes with the socket's name, a socket's path has 108; "
        f"{tmp_path}: Permission denied; /tmp: Permission denied"
    )


_CONNECT = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(65534)
socket.socket(socket.AF_UNIX).connect(sys.argv[1])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_group_may_connect_and_others_may_not() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o711)
        listener = listen({"PLUGIN_UNIX_SOCKET_DIR": folder, "PLUGIN_UNIX_SOCKET_GROUP": "12345"})
        ends = [
            subprocess.run(
                [sys.executable, "-Sc", _CONNECT, listener.path, group], capture_output=True, check=False
            )
            for group in ("12345", "12346")
        ]
        listener.close()

        assert [end.returncode for end in ends] == [0, 1], ends
        assert b"PermissionError" in ends[1].stderr
        assert list(Path(folder).iterdir()) == []


@pytest.mark.parametrize("group", ["no such", "-1", "99999999999", "1" * 5000])
def test_a_group_that_there_is_not_is_refused_in_words(tmp_path: Path, group: str) -> None:
    with pytest.raises(CannotListenError, match=r"PLUGIN_UNIX_SOCKET_GROUP=.*no such group"):
        listen({"TMPDIR": str(tmp_path), "PLUGIN_UNIX_SOCKET_GROUP": group})
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_dead_process_that_had_let_a_group_in_is_removed(tmp_path: Path) -> None:
    dead_folder(tmp_path).chmod(0o710)

    assert remove_stale(tmp_path) == 1


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    listener = listen({"TMPDIR": str(tmp_path)})
    listener.close()
    listener.close()


def test_a_folder_is_private_and_vanishes(tmp_path: Path) -> None:
    folder = PrivateFolder(tmp_path)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.remove()
    assert not folder.path.exists()


def dead_folder(base: Path, name: str = "chaosplugin-0123456789ab") -> Path:
    folder = base / name
    folder.mkdir(0o700)
    (folder / "socket").touch()
    return folder


def test_the_folder_of_a_dead_process_is_stale_and_that_of_a_living_one_is_not(tmp_path: Path) -> None:
    alive = PrivateFolder(tmp_path)
    dead = dead_folder(tmp_path)

    assert remove_stale(tmp_path) == 1
    assert not dead.exists()
    assert alive.path.exists()
    alive.remove()


def test_what_is_not_certainly_ours_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    (elsewhere / "socket").touch()
    base = tmp_path / "base"
    base.mkdir()
    dead_folder(base, "plugin123")
    dead_folder(base, "chaosplugin-open").chmod(0o755)
    (dead_folder(base, "chaosplugin-more") / "precious").touch()
    (base / "chaosplugin-file").touch()
    (base / "chaosplugin-link").symlink_to(elsewhere)

    assert remove_stale(base) == 0
    assert (elsewhere / "socket").exists()
    assert {p.name for p in base.iterdir()} == {
        "plugin123",
        "chaosplugin-open",
        "chaosplugin-more",
        "chaosplugin-file",
        "chaosplugin-link",
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_folder_is_left_alone(tmp_path: Path) -> None:
    folder = dead_folder(tmp_path)
    os.chown(folder, 65534, 65534)
    assert remove_stale(tmp_path) == 0


def test_a_base_that_is_gone_holds_nothing_stale(tmp_path: Path) -> None:
    assert remove_stale(tmp_path / "gone") == 0


def swept_after_mkdir(monkeypatch: pytest.MonkeyPatch, sweep: Callable[[Path], None], times: int) -> None:
    """Let a sweeper come between the making of a folder and its lock."""
    make, left = Path.mkdir, [times]

    def mkdir(self: Path, mode: int) -> None:
        make(self, mode)
        if left[0]:
            left[0] -= 1
            sweep(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)


def test_a_folder_that_is_swept_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept_after_mkdir(monkeypatch, Path.rmdir, 2)
    folder = PrivateFolder(tmp_path)
    assert list(tmp_path.iterdir()) == [folder.path]
    folder.remove()


def test_a_folder_that_a_sweeper_holds_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def hold(folder: Path) -> None:
        held.append(os.open(folder, os.O_RDONLY))
        fcntl.flock(held[0], fcntl.LOCK_EX)

    swept_after_mkdir(monkeypatch, hold, 1)
    folder = PrivateFolder(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    folder.remove()
    os.close(held[0])


def test_folders_that_vanish_again_and_again_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept_after_mkdir(monkeypatch, Path.rmdir, 100)
    with pytest.raises(OSError, match="vanish"):
        PrivateFolder(tmp_path)


def test_nothing_heavy_is_imported_before_the_handshake_line() -> None:
    """A host waits meanwhile; `dataclasses` alone costs as much as all that is needed."""
    program = (
        "import sys, chaosplugin.cli, chaosplugin.core.policy\n"
        "heavy = {'dataclasses', 'asyncio', 'anyio', 'msgspec', 'argparse', 'logging'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or None)"
    )

    # what measures coverage in subprocesses imports some of them itself
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, check=False, env=environment).stderr == b""
