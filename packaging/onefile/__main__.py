"""`python -m onefile build`: the one file, into dist/; `release` adds notes, manifests and images."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from onefile import compiler, debian, extras, parts, payload, sbom, tree, wheels
from onefile.targets import TARGETS, Target, host

_ROOT = Path(__file__).parents[2]
_BUILD = _ROOT / "build" / "onefile"


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
            make([TARGETS[name] for name in found.target or TARGETS], found.dist, found.cache, locked=False)
    except (debian.DebianError, LookupError, ValueError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"onefile: {error}\n")
        return 1
    return 0


def release(dist: Path, cache: Path) -> None:
    """Make everything that a release carries, of the versions that are locked, and publish nothing."""
    extras.insist_on_commit()
    targets = list(TARGETS.values())
    make(targets, dist, cache, locked=True)
    (wheel,) = dist.glob("*.whl")
    version = wheel.name.split("-")[1]
    extras.write_notes(version, dist / "NOTES.md")
    extras.write_manifests(version, dist / f"chaosplugin-{version}-deploy.tar.gz")
    extras.write_images(targets, version, dist, _BUILD)
    _write_sums(dist)
    sys.stdout.write(f"{(dist / 'SHA256SUMS').read_text()}dist/ has what v{version} would carry\n")


def make(targets: Sequence[Target], dist: Path, cache: Path, *, locked: bool) -> None:
    """Make the one file for these CPUs, and what goes with it."""
    shutil.rmtree(_BUILD / "wheels", ignore_errors=True)
    wheel = wheels.build(_BUILD / "wheels")
    zstd = compiler.fetch_zstd(cache)
    packages = {each: _debian(each, cache, locked=locked) for each in {host(), *targets}}
    if len(targets) == len(TARGETS):
        shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True, exist_ok=True)
    for file in (_BUILD / "wheels").iterdir():
        shutil.copy(file, dist)
    for target in targets:
        file = dist / f"chaosplugin-linux-{target.name}"
        sys.stdout.write(f"==> {file.relative_to(dist.parent)}\n")
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
        shutil.copy(folder / "LICENSES.txt", dist / "LICENSES.txt")
        compiler.launcher(target, zstd, launcher)
        payload.write(launcher, folder, file)
        sbom.write(file, contents, dist / f"{file.name}.cdx.json")
    _write_sums(dist)


def _write_sums(dist: Path) -> None:
    sums = dist / "SHA256SUMS"
    sbom.write_sums(sorted(each for each in dist.iterdir() if each.is_file() and each != sums), sums)


def _debian(target: Target, cache: Path, *, locked: bool) -> tuple[list[debian.Deb], Path]:
    root = _BUILD / f"debian-{target.name}"
    found = debian.fetch(target, cache, locked=locked)
    debian.unpack(found.values(), root)
    return list(found), root


if __name__ == "__main__":
    sys.exit(main())
