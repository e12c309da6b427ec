"""A root as the controller's container has it: no libc, no shell, nothing to write to but two folders.

The program in it is user 999, without capabilities or a way to new ones.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

USER = 999
PLUGIN = "plugin-bin/chaosplugin/chaos-mesh"
_ROOTS = "etc/ssl/certs/ca-certificates.crt"

# $1 the root, $2 how its /tmp is, $3 how its /plugin-bin is, $4 whether it has /proc; then the program
_ENTER = """\
set -e
root=$1
put() {
	case $2 in
	full) mount -t tmpfs -o size=4m,mode=1777 tmpfs "$root$1" ;;
	endless) mount -t tmpfs -o size=0,mode=1777 tmpfs "$root$1" ;;
	*) mount --bind "$root.folders$1" "$root$1" ;;
	esac
	case $2 in ro | noexec) mount -o "remount,bind,$2" "$root$1" ;; esac
}
mount --bind "$root" "$root"
mount --bind /dev/null "$root/dev/null"
mount --bind /dev/urandom "$root/dev/urandom"
put /tmp "$2"
put /plugin-bin "$3"
if [ "$4" = yes ]; then mount -t proc proc "$root/proc"; fi
mount -o remount,bind,ro "$root"
shift 4
exec setpriv --no-new-privs --inh-caps=-all chroot --userspec=999:999 "$root" "$@"
"""
# the kernel starts programs of that CPU by the emulator, also in a root that does not have it (F)
_EMULATE = """\
formats=/proc/sys/fs/binfmt_misc
mount -t binfmt_misc binfmt_misc $formats
[ -e $formats/chaosplugin-arm64 ] || printf %s "$1" >$formats/register
shift
exec "$@"
"""
_ARM64 = (
    r":chaosplugin-arm64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    r":\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:{emulator}:F"
)


class BareRoot:
    """The plugin's file is where the controller's downloader puts it, in a folder of its own."""

    def __init__(self, folder: Path, file: Path, emulator: Path | None = None) -> None:
        """Make it; `emulator` is for a file of another CPU."""
        assert os.geteuid() == 0, "make test-system wants root: it mounts"
        self.root = folder / "root"
        self._folders = Path(f"{self.root}.folders")
        for name in ("dev", "etc", "proc", "tmp", "plugin-bin", "etc/ssl/certs"):
            (self.root / name).mkdir(parents=True)
        for name in ("dev/null", "dev/urandom"):
            (self.root / name).touch()
        (self.root / "etc/passwd").write_text("root:x:0:0:root:/:/sbin/nologin\n")
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        (self.root / _ROOTS).write_bytes(Path("/", _ROOTS).read_bytes())
        self.tmp, home = self._folders / "tmp", self._folders / "plugin-bin"
        self.file = self._folders / PLUGIN
        self.file.parent.mkdir(parents=True)
        self.tmp.mkdir()
        self.tmp.chmod(0o777)  # as an emptyDir is
        shutil.copyfile(file, self.file)
        self.file.chmod(0o700)
        for path in (home, self.file.parent, self.file):
            os.chown(path, USER, USER)
        self._emulator = emulator

    @property
    def cache(self) -> Path:
        """The controller's folder of this plugin, where the tree should be."""
        return self.file.parent

    def command(self, *arguments: str, tmp: str = "rw", home: str = "rw", proc: str = "no") -> list[str]:
        """`tmp` and `home` are rw, ro, noexec or, for tmp, full or endless."""
        unshare = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"]
        enter = ["sh", "-c", _ENTER, "enter", str(self.root), tmp, home, proc]
        if self._emulator is not None:
            enter = ["sh", "-ec", _EMULATE, "emulate", _ARM64.format(emulator=self._emulator), *enter]
        return [*unshare, *enter, f"/{PLUGIN}", *arguments]

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        tmp: str = "rw",
        home: str = "rw",
        proc: str = "no",
    ) -> subprocess.CompletedProcess[str]:
        """Run the plugin's file to its end."""
        return subprocess.run(
            self.command(*arguments, tmp=tmp, home=home, proc=proc),
            env=_environment(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextlib.contextmanager
    def running(self, environment: Mapping[str, str], proc: str = "no") -> Iterator["subprocess.Popen[str]"]:
        """Run it as a controller does; it is killed at the end."""
        cookie = {"ARGO_ROLLOUTS_RPC_PLUGIN": "metricprovider", "PLUGIN_PROTOCOL_VERSIONS": "1"}
        with subprocess.Popen(
            self.command(proc=proc),
            env=_environment({**cookie, **environment}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def trees(self, folder: Path | None = None) -> list[Path]:
        """Return the unpacked trees in a folder, by default the plugin's own."""
        return sorted((folder or self.cache).glob(f".chaosplugin-{USER}-*"))


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], **(extra or {})}
