"""`python -m onefile build`: the one file, into dist/; `release` adds notes, manifests and images."""

import argparse
import contextlib
import fcntl
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from onefile import compiler, debian, dist, extras, parts, payload, sbom, tree, wheels
from onefile.targets import TARGETS, Target, host

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / "build" / "onefile"
_MADE = _BUILD / "dist"  # and from there, once all is made, to where it is wanted


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="onefile", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("--target", choices=TARGETS, action="append")
    build.add_argument("--dist", type=Path, default=_ROOT / "dist")
    whole = commands.add_parser("release")
    whole.add_argument("--dist", type=Path, default=_ROOT / "dist")
    lock = commands.add_parser("lock")
    for command in (build, whole, lock):
        command.add_argument("--cache", type=Path, required=True)
    found = parser.parse_args()
    try:
        if found.command == "lock":
            debian.write_lock(found.cache)
            return 0
        if found.command == "release":
            release(found.dist, found.cache)
        else:
            build_into(found.dist, [TARGETS[name] for name in found.target or TARGETS], found.cache)
    except (debian.DebianError, LookupError, ValueError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"onefile: {error}\n")
        return 1
    return 0


def build_into(folder: Path, targets: Sequence[Target], cache: Path) -> None:
    """Make the one file for these CPUs, and what goes with it; a build that fails changes nothing there."""
    make(targets, cache, locked=False)
    dist.publish(_MADE, folder, whole=len(targets) == len(TARGETS))


def release(folder: Path, cache: Path) -> None:
    """Make everything that a release carries, of the versions that are locked, and publish nothing."""
    extras.insist_on_commit()
    targets = list(TARGETS.values())
    make(targets, cache, locked=True)
    (wheel,) = _MADE.glob("*.whl")
    version = wheel.name.split("-")[1]
    extras.write_notes(version, _MADE / "NOTES.md")
    extras.write_manifests(version, _MADE / f"chaosplugin-{version}-deploy.tar.gz")
    extras.write_images(targets, version, _MADE, _BUILD)
    dist.publish(_MADE, folder, whole=True)
    sums = (folder / dist.SUMS).read_text()
    sys.stdout.write(f"{sums}{folder.name}/ has what v{version} would carry\n")


def make(targets: Sequence[Target], cache: Path, *, locked: bool) -> None:
    """Make a folder with the one file for these CPUs, and what goes with it."""
    shutil.rmtree(_MADE, ignore_errors=True)
    wheel = wheels.build(_MADE)
    with _alone(cache):
        zstd = compiler.fetch_zstd(cache)
        packages = {each: _debian(each, cache, locked=locked) for each in {host(), *targets}}
    for target in targets:
        file = _MADE / f"chaosplugin-linux-{target.name}"
        sys.stdout.write(f"==> {file.name}\n")
        sys.stdout.flush()
        site, folder, launcher = (_BUILD / f"{part}-{target.name}" for part in ("site", "tree", "launcher"))
        wheels.install(target, wheel, site)
        debs, root = packages[target]
        distributions = wheels.needed(site, target)
        tree.assemble(target, root, packages[host()][1], distributions, folder)
        versions = {name: metadata.version(name) for name in ("zstandard", "ziglang")}
        contents = [
            *parts.of_python(distributions),
            *parts.of_debian(debs, root),
            *parts.of_launcher(zstd, compiler.zig_folder(), versions),
        ]
        (folder / "LICENSES.txt").write_text(parts.licences(contents))
        shutil.copy(folder / "LICENSES.txt", _MADE / "LICENSES.txt")
        compiler.launcher(target, zstd, launcher)
        payload.write(launcher, folder, file)
        sbom.write(file, contents, _MADE / f"{file.name}.cdx.json")


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Wait for other builds, also those of other checkouts, which fetch into the same cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _debian(target: Target, cache: Path, *, locked: bool) -> tuple[list[debian.Deb], Path]:
    root = _BUILD / f"debian-{target.name}"
    found = debian.fetch(target, cache, locked=locked)
    debian.unpack(found.values(), root)
    return list(found), root


if __name__ == "__main__":
    sys.exit(main())
