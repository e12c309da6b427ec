"""CPython and the C library, from Debian's packages.

Debian keeps old versions for a short time only. debian.lock says which are wanted, with their hashes. One
that has gone is replaced by the release's current one, which Debian has signed, and this is said: a build of
an old commit still works, with the security updates of its day. A release insists on the lock.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from onefile.targets import TARGETS, Target

LOCK = Path(__file__).parents[1] / "debian.lock"
RELEASE = "bookworm"
RENEW = "make lock-debian"
_PYTHON, _GCC = "PSF-2.0", "GPL-3.0-or-later WITH GCC-exception-3.1"
PACKAGES = {  # with their licences; without one they are only built with
    "libpython3.11": _PYTHON,  # the interpreter
    "libpython3.11-minimal": _PYTHON,
    "libpython3.11-stdlib": _PYTHON,
    "libpython3.11-dev": "",  # headers
    "python3.11-minimal": "",  # compiles to bytecode
    "gcc-12-base": "",  # the text of the two libraries' licence
    "libc6": "LGPL-2.1-or-later",
    "libgcc-s1": _GCC,
    "libstdc++6": _GCC,
    "libbz2-1.0": "bzip2-1.0.6",
    "libexpat1": "MIT",
    "libffi8": "MIT",
    "liblzma5": "LicenseRef-public-domain",
    "libssl3": "Apache-2.0",
    "libuuid1": "BSD-3-Clause",
    "zlib1g": "Zlib",
}
SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")


class DebianError(Exception):
    """What Debian cannot give, and what to do."""


@dataclass(frozen=True, slots=True)
class Deb:
    """A package of one version for one CPU."""

    name: str
    version: str
    target: str
    sha256: str

    def line(self) -> str:
        """Return the line of the lock."""
        return f"{self.name} {self.version} {self.target} sha256:{self.sha256}"


def read_lock() -> list[Deb]:
    """Return what debian.lock wants."""
    entries = (line.split() for line in LOCK.read_text().splitlines() if line and not line.startswith("#"))
    return [Deb(name, version, cpu, digest.removeprefix("sha256:")) for name, version, cpu, digest in entries]


def write_lock(cache: Path) -> None:
    """Choose the archive's current versions."""
    debs = [deb for target in TARGETS.values() for deb in Archive(target, cache).current().values()]
    head = f"# Debian {RELEASE}: what the one file's Python and C library are made of; written by `{RENEW}`\n"
    LOCK.write_text(head + "".join(f"{deb.line()}\n" for deb in sorted(debs, key=Deb.line)))


def fetch(target: Target, cache: Path, *, locked: bool) -> dict[Deb, Path]:
    """Return the packages of one CPU, and the files that hold them; `locked` allows no other versions."""
    archive = Archive(target, cache)
    return dict(_found(archive, deb, locked=locked) for deb in read_lock() if deb.target == target.name)


def _found(archive: "Archive", wanted: Deb, *, locked: bool) -> tuple[Deb, Path]:
    file = archive.kept(wanted)
    if file is not None:
        return wanted, file
    current = archive.current()[wanted.name]
    if current != wanted and not archive.has(wanted):
        said = f"Debian has no {wanted.name} {wanted.version} for {wanted.target} any more"
        if locked:
            raise DebianError(f"{said}: run `{RENEW}`, and commit what it chose")
        sys.stderr.write(f"{said}; {current.version} is taken, `{RENEW}` pins it\n")
        wanted = current
    return wanted, archive.download(wanted)


class Archive:
    """The machine's own Debian mirrors, asked for one CPU; the machine's packages are not touched."""

    def __init__(self, target: Target, cache: Path) -> None:
        self._target = target
        self._debs = cache / "debs"
        self._folder = cache / f"apt-{target.name}"
        self._current: dict[str, Deb] = {}

    def kept(self, deb: Deb) -> Path | None:
        """Return the package's file if it was fetched before."""
        file = self._debs / f"{deb.sha256}.deb"
        return file if file.exists() and _digest(file) == deb.sha256 else None

    def current(self) -> Mapping[str, Deb]:
        """Return the archive's versions of today, by name."""
        if not self._current:
            self._update()
            self._current = {deb.name: deb for deb in self._described(PACKAGES)}
        return self._current

    def has(self, deb: Deb) -> bool:
        """Whether the archive still has this very package."""
        try:
            return list(self._described([f"{deb.name}={deb.version}"])) == [deb]
        except DebianError:
            return False

    def download(self, deb: Deb) -> Path:
        """Fetch the package and keep its file."""
        folder = self._folder / "download"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._apt("download", f"{deb.name}={deb.version}", folder=folder)
        (file,) = folder.iterdir()
        if _digest(file) != deb.sha256:
            raise DebianError(f"{file.name} is not what {LOCK.name} pins: its sha256 is {_digest(file)}")
        self._debs.mkdir(exist_ok=True)
        kept = self._debs / f"{deb.sha256}.deb"
        file.replace(kept)
        return kept

    def _described(self, packages: Iterable[str]) -> Iterator[Deb]:
        said = self._apt("download", "--print-uris", *packages)
        for line in said.splitlines():  # 'uri' name_version_cpu.deb size SHA256:digest
            _, file, _, digest = line.split()
            name, version, _ = unquote(file).split("_")
            yield Deb(name, version, self._target.name, digest.partition(":")[2])

    def _update(self) -> None:
        source = next((file for file in SOURCES if Path(file).exists()), None)
        if source is None or shutil.which("apt-get") is None:
            raise DebianError(
                f"the one file is built on Debian {RELEASE}, of which it takes Python and glibc"
            )
        for folder in ("lists/partial", "cache/archives/partial"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        (self._folder / "status").touch()
        (self._folder / "apt.conf").write_text(
            f'Dir::State::lists "{self._folder}/lists";\n'
            f'Dir::State::status "{self._folder}/status";\n'
            f'Dir::Cache "{self._folder}/cache";\n'
            f'Dir::Etc::sourcelist "{source}";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'  # no other vendor's Python
            f'APT::Architecture "{self._target.name}";\n'
            f'APT::Architectures {{ "{self._target.name}"; }};\n'
            f'APT::Default-Release "{RELEASE}*";\n'
            'APT::Sandbox::User "";\n'  # these folders are ours
            'Acquire::Languages "none";\n'
            'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
            'Acquire::Retries "5";\n'
        )
        self._apt("update", "-qq")

    def _apt(self, *arguments: str, folder: Path | None = None) -> str:
        environment = {**os.environ, "APT_CONFIG": str(self._folder / "apt.conf"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            ["apt-get", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DebianError(f"apt-get {' '.join(arguments[:3])}: {done.stderr.strip()[:1000]}")
        return done.stdout


def unpack(debs: Iterable[Path], root: Path) -> None:
    """Lay the packages' files into a folder, as dpkg would into /."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    for file in debs:
        subprocess.run(["dpkg-deb", "--extract", file, root], check=True)


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
