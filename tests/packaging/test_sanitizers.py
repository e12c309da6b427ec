"""The launcher built with gcc's sanitizers, on good files, bad disks and garbage."""

import hashlib
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tests.packaging import release, tools

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

_FOLDER = Path(__file__).parents[2] / "packaging" / "launcher"
_FLAGS = ("-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fno-omit-frame-pointer")
_SANITIZE = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
_TRAILER = 128


def _compile(sources: list[Path], out: Path, *flags: str) -> None:
    gcc = str(tools.from_debian("gcc", "gcc"))
    files = [*map(str, sources), "-o", str(out)]
    subprocess.run([gcc, *_FLAGS, *_SANITIZE, *flags, *files], check=True)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the release's payload behind a launcher that looks at each access to memory."""
    from onefile import compiler, payload  # noqa: PLC0415 - installed for `make dist` only

    folder = tmp_path_factory.mktemp("sanitized")
    zstd = compiler.fetch_zstd(release.cache())
    gcc = str(tools.from_debian("gcc", "gcc"))  # zstd is for its own authors to try, and would take a minute
    subprocess.run([gcc, "-O1", "-c", str(zstd / "zstd.c"), "-o", str(folder / "zstd.o")], check=True)
    _compile([*compiler.launcher_sources(), folder / "zstd.o"], folder / "launcher", f"-I{zstd}")
    payload.relaunched(release.file(), folder / "launcher", folder / "chaosplugin")
    return folder / "chaosplugin"


@pytest.fixture
def file(sanitized: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(sanitized, tmp_path / "chaosplugin"))


def _run(file: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {"UBSAN_OPTIONS": "print_stacktrace=1", "TMPDIR": str(file.parent / "none")}
    command = [str(file), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_first_and_later_starts_are_clean(file: Path) -> None:
    first, second = _run(file, "--version"), _run(file, "--version")
    (tree,) = file.parent.glob(".chaosplugin-*-*")
    (tree / ".durable").touch()
    third = _run(file, "--version")
    (tree / "stdlib.zip").unlink()
    mended = _run(file, "--version")

    assert [each.returncode for each in (first, second, third, mended)] == [0] * 4
    assert "".join(each.stderr for each in (first, second, third, mended)) == ""


def test_install_is_clean(file: Path) -> None:
    good, bad = _run(file, "install", str(file.parent / "copy")), _run(file, "install", "/none/copy")

    assert (good.returncode, good.stderr) == (0, "")
    assert bad.stderr == "[ERROR] chaosplugin: cannot install: /none/copy.part: No such file or directory\n"


@pytest.mark.parametrize("seed", range(12))
def test_garbage_is_refused_in_one_line(file: Path, seed: int) -> None:
    """Each number of the trailer, and the payload, changed at random."""
    chosen = random.Random(seed)  # noqa: S311 - no secret
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size - _TRAILER + chosen.randrange(112) if seed % 2 else chosen.randrange(2**22, size))
        opened.write(chosen.randbytes(8))
        opened.truncate(size)
    said = _run(file, "--version")

    assert "Sanitizer" not in said.stderr
    assert "runtime error" not in said.stderr
    assert (said.returncode, said.stderr.count("\n")) in ((126, 1), (0, 0))


def test_a_payload_that_would_begin_before_the_file_is_refused(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(size - _TRAILER + 16)
        opened.write(struct.pack("<QQ", 2**64 - 4096, size - _TRAILER + 4096))
    said = _run(file, "--version")

    assert (said.returncode, said.stderr.count("\n")) == (126, 1)


_DIGEST = """\
#include "blake2b.h"
#include <stdio.h>
int main(void)
{
	struct blake2b state;
	unsigned char part[77], digest[DIGEST_SIZE];
	size_t got;
	blake2b_begin(&state);
	while ((got = fread(part, 1, sizeof part, stdin)) > 0)
		blake2b_add(&state, part, got);
	blake2b_end(&state, digest);
	return fwrite(digest, 1, sizeof digest, stdout) != sizeof digest;
}
"""


def test_the_digest_is_that_of_python(tmp_path: Path) -> None:
    program, main = tmp_path / "digest", tmp_path / "main.c"
    main.write_text(_DIGEST)
    _compile([main, _FOLDER / "blake2b.c"], program, f"-I{_FOLDER}")
    for size in (0, 1, 127, 128, 129, 255, 256, 100_000):
        data = random.Random(size).randbytes(size)  # noqa: S311 - no secret
        said = subprocess.run([program], input=data, capture_output=True, check=True)

        assert said.stdout == hashlib.blake2b(data, digest_size=32).digest(), size
