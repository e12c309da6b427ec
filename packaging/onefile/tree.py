"""The folder that the launcher unpacks: what the plugin needs to run, and nothing from the machine.

bin/chaosplugin   the interpreter's main
lib/              the dynamic loader, glibc, libpython and what they and the extensions need
stdlib.zip  site.zip   Python's modules, as bytecode
lib-dynload/  site/    extensions, and the packages that have some
LICENSES.txt      of every part
"""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from onefile import archive, bytecode, compiler, elf, slim
from onefile.targets import Target, host

_DLOPENED = ("libgcc_s.so.1",)  # by glibc, when a thread is cancelled


def assemble(
    target: Target, debian: Path, python: Path, distributions: Iterable[metadata.Distribution], tree: Path
) -> None:
    """Make the tree anew, but for the licences.

    `debian` holds the target's packages, `python` those of this machine's CPU.
    """
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "lib", "site"):
        (tree / folder).mkdir(parents=True)
    _copy_standard_library(debian / "usr" / "lib" / "python3.11", tree)
    for distribution in distributions:
        _copy_distribution(distribution, tree / "site")
    slim.make_lazy(tree / "site")
    for folder in ("stdlib", "site"):
        compile_sources(python, tree / folder)
        archive.pack(tree / folder)
    compiler.interpreter(target, debian, tree / "bin" / "chaosplugin")
    _copy_libraries(target, debian, tree)
    for file in tree.rglob("*"):
        if file.is_file() and elf.is_elf(data := file.read_bytes()):
            file.write_bytes(elf.trimmed(data))
            file.chmod(0o755)


def _copy_standard_library(source: Path, tree: Path) -> None:
    def left_out(_: str, names: list[str]) -> set[str]:
        return {name for name in names if not slim.is_wanted_module(name)}

    shutil.copytree(source, tree / "stdlib", ignore=left_out)
    (tree / "lib-dynload").mkdir()
    for file in sorted((source / "lib-dynload").glob("*.so")):
        if slim.is_wanted_extension(file.name):
            shutil.copyfile(file, tree / "lib-dynload" / file.name)


def _copy_distribution(distribution: metadata.Distribution, site: Path) -> None:
    for entry in distribution.files or ():
        if slim.is_wanted_file(entry):
            target = site / entry
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(entry.locate()), target)


def compile_sources(python: Path, folder: Path) -> None:
    """Compile with Debian's Python for this machine's CPU; bytecode is the same on all."""
    here = host()
    libraries = ":".join(str(each) for each in here.library_folders(python))
    loader = python / "lib" / here.triplet / here.loader
    command = [str(loader), "--library-path", libraries, str(python / "usr" / "bin" / "python3.11")]
    environment = {"PYTHONHOME": str(python / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"}
    script = Path(bytecode.__file__)
    subprocess.run([*command, "-S", "-B", str(script), str(folder)], env=environment, check=True)


def _copy_libraries(target: Target, debian: Path, tree: Path) -> None:
    folders = target.library_folders(debian)
    (lib := tree / "lib").mkdir(exist_ok=True)
    left = [*_DLOPENED, target.loader, *_needs(tree)]
    while left:
        name = left.pop()
        if (lib / name).exists() or _is_vendored(name, tree):
            continue
        found = next((folder / name for folder in folders if (folder / name).exists()), None)
        if found is None:
            raise LookupError(f"no package of debian.lock has {name} for {target.name}")
        shutil.copyfile(found, lib / name)  # the file that the link names
        left += elf.needed(lib / name)


def _needs(tree: Path) -> Iterator[str]:
    for file in [tree / "bin" / "chaosplugin", *tree.rglob("*.so")]:
        yield from elf.needed(file)


def _is_vendored(name: str, tree: Path) -> bool:
    """Whether a wheel brings it."""
    return any(tree.glob(f"site/*.libs/{name}"))
