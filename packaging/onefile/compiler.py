"""The two C programs, compiled by zig, which brings musl and glibc's symbols for both CPUs."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

from onefile.targets import Target

_FOLDER = Path(__file__).parents[1]
TOOLS_LOCK = _FOLDER / "requirements.lock"
_STRICT = ("-std=gnu11", "-O2", "-s", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fno-sanitize=all")
_SMALL = ("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
_ZSTD = ("-DZSTD_DISABLE_ASM=1", "-DZSTD_TRACE=0")
GLIBC = "2.36"  # Debian 12's


def launcher_sources() -> list[Path]:
    """Return what the launcher is made of, besides zstd."""
    return sorted((_FOLDER / "launcher").glob("*.c"))


def fetch_zstd(cache: Path) -> Path:
    """Return the folder of zstd.c, one file with the whole library, which zstandard's sources bring."""
    entries = re.split(r"(?m)^(?=\S)", TOOLS_LOCK.read_text())
    (pinned,) = [entry for entry in entries if entry.startswith("zstandard==")]
    folder = cache / f"zstandard-{pinned.split()[0].partition('==')[2]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        wanted = cache / "zstandard.txt"
        wanted.write_text(pinned)
        pip = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--retries=10",
        ]
        only = ["--no-deps", "--no-build-isolation", "--no-binary=zstandard", "--require-hashes"]
        # pip asks its setup for metadata, and that preprocesses headers
        environment = {**os.environ, "CC": f"{sys.executable} -m ziglang cc"}
        command = [*pip, *only, f"--requirement={wanted}", f"--dest={cache}"]
        subprocess.run(command, env=environment, check=True)
        part = cache / "zstandard.part"
        shutil.rmtree(part, ignore_errors=True)  # of a build that was interrupted
        with tarfile.open(cache / f"{folder.name}.tar.gz") as archive:
            archive.extractall(part)  # noqa: S202 - pinned by its hash; Debian 12's Python knows no filters
        (part / folder.name).rename(folder)
    return folder / "zstd"


def zig_folder() -> Path:
    """Return where zig is installed, and with it musl. Raises: LookupError."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise LookupError("packaging/requirements.lock is not installed")
    return Path(found.origin).parent


def launcher(target: Target, zstd: Path, out: Path) -> None:
    """Compile the static launcher."""
    sources = [*launcher_sources(), zstd / "zstd.c"]
    _zig(f"{target.machine}-linux-musl", [*_SMALL, *_ZSTD, "-static", f"-I{zstd}", *map(str, sources)], out)


def interpreter(target: Target, debian: Path, out: Path) -> None:
    """Compile the interpreter's main and link it with Debian's libpython."""
    headers = [f"-I{debian}/usr/include/python3.11", f"-isystem{debian}/usr/include"]
    library = debian / "usr" / "lib" / target.triplet / "libpython3.11.so.1.0"
    # what libpython itself needs is found when it runs
    linked = [str(_FOLDER / "python" / "main.c"), str(library), "-Wl,--allow-shlib-undefined"]
    _zig(f"{target.machine}-linux-gnu.{GLIBC}", [*headers, *linked], out)


def _zig(triple: str, arguments: Iterable[str], out: Path) -> None:
    cpu = "-mcpu=baseline"  # and not what the building machine happens to have
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        "-target",
        triple,
        cpu,
        *_STRICT,
        *arguments,
        "-o",
        str(out),
    ]
    subprocess.run(command, check=True, env={**os.environ, "SOURCE_DATE_EPOCH": "0"})
