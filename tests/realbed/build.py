"""Build the real components: `python3 -m tests.realbed.build [PART...]`, all of `PARTS` without any.

Standard library only: it may run before the project is installed. What is built goes to the user's cache,
`chaosplugin/realbed/{bin,manifests}`; a part is built again when its sources here, or its options, change.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.realbed import toolchain

_HERE = Path(__file__).parent
_ARGO = "github.com/argoproj/argo-rollouts"
_CHAOS = "github.com/chaos-mesh/chaos-mesh"
# no debug information: less to write and to link
_OPTIONS = ("-mod=readonly", "-buildvcs=false", "-trimpath", "-gcflags=all=-dwarf=false")
_VERSION = "-X k8s.io/component-base/version.gitVersion="


@dataclass(frozen=True, slots=True)
class Part:
    """One `go build`: `packages` of the module in `folder`; `stamp` sets a version variable at link time."""

    folder: str
    packages: tuple[str, ...]
    binaries: tuple[str, ...]
    module: str  # whose version and manifests count
    mod: str = "go.mod"
    stamp: str = ""
    manifests: tuple[str, ...] = ()  # of the module's folder, read when the bed starts


def _argo(mod: str, binary: str) -> Part:
    return Part(
        folder="argo",
        packages=(f"{_ARGO}/cmd/rollouts-controller",),
        binaries=(binary,),
        module=_ARGO,
        mod=mod,
        stamp=f"-X {_ARGO}/utils/version.version=",
        manifests=("manifests/crds", "manifests/role/argo-rollouts-clusterrole.yaml"),
    )


PARTS = {
    "kube": Part(
        folder="kube",
        packages=("./cmd/kubebed",),
        binaries=("kubebed",),
        module="k8s.io/kubernetes",
        stamp=_VERSION,  # without it clients cannot parse what the server says of itself
    ),
    "argo": _argo("go.mod", "rollouts-controller"),
    "argo-next": _argo("next.mod", "rollouts-controller-next"),
    "argo-kubectl": Part(
        folder="argo",
        packages=(f"{_ARGO}/cmd/kubectl-argo-rollouts",),
        binaries=("kubectl-argo-rollouts",),
        module=_ARGO,
        mod="next.mod",
    ),
    "chaos": Part(
        folder="chaos",
        packages=(f"{_CHAOS}/cmd/chaos-controller-manager", "./cmd/fakedaemon"),
        binaries=("chaos-controller-manager", "fakedaemon"),
        module=_CHAOS,
        manifests=("config/crd/bases",),
    ),
}


def cache() -> Path:
    return toolchain.cache_folder() / "realbed"


def _digest(part: Part) -> str:
    """Tell apart everything that decides what is built."""
    sources = [*(_HERE / part.folder).rglob("*.go")]
    sources += [_HERE / part.folder / part.mod, _HERE / part.folder / part.mod.replace(".mod", ".sum")]
    digest = hashlib.sha256(repr((_OPTIONS, part)).encode())
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def is_built(name: str) -> bool:
    part, stamp = PARTS[name], cache() / f"{name}.digest"
    there = all((cache() / "bin" / binary).exists() for binary in part.binaries)
    return there and stamp.exists() and stamp.read_text() == _digest(part)


def build(name: str) -> None:
    """Build one part, unless it is there already.

    Raises: subprocess.CalledProcessError, when Go or a download fails.
    """
    part, start = PARTS[name], time.monotonic()
    if is_built(name):
        _say(f"{name} is there")
        return
    go, folder = toolchain.find_go(), _HERE / part.folder
    _say(f"building {name} with {go}")
    version = _listed(go, part, "{{.Version}}")
    link = f"-s -w {part.stamp}{_shown(part, version)}" if part.stamp else "-s -w"
    target = cache() / "bin"
    target.mkdir(parents=True, exist_ok=True)
    # one binary may have any name, several are named by their packages
    output = f"{target}/" if len(part.binaries) > 1 else str(target / part.binaries[0])
    options = (*_OPTIONS, f"-modfile={part.mod}", f"-ldflags={link}")
    toolchain.run(go, "build", *options, "-o", output, *part.packages, cwd=folder)
    _keep_manifests(name, Path(_listed(go, part, "{{.Dir}}")))
    (cache() / f"{name}.digest").write_text(_digest(part))
    _say(f"{name} built in {time.monotonic() - start:.0f} s")


def _shown(part: Part, version: str) -> str:
    return version.removeprefix("v") if part.module == _ARGO else version


def _listed(go: Path, part: Part, template: str) -> str:
    arguments = ("list", "-m", f"-modfile={part.mod}", "-f", template, part.module)
    return toolchain.output(go, *arguments, cwd=_HERE / part.folder)


def _keep_manifests(name: str, source: Path) -> None:
    """Copy CRDs and roles, so that the module cache is not needed to run."""
    kept = cache() / "manifests" / name
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir(parents=True)
    for manifest in PARTS[name].manifests:
        found = source / manifest
        if found.is_file():
            shutil.copyfile(found, kept / found.name)
        elif len(PARTS[name].manifests) == 1:
            _copy_folder(found, kept)
        else:
            _copy_folder(found, kept / found.name)


def _copy_folder(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        if file.is_file():
            shutil.copyfile(file, target / file.name)  # contents only: a module's files are read-only


def _say(text: str) -> None:
    sys.stdout.write(f"realbed: {text}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names or PARTS:
            if name not in PARTS:
                _say(f"no part {name!r}; there are {', '.join(PARTS)}")
                return 2
            try:
                build(name)
            except subprocess.CalledProcessError as error:
                _say(f"{name} was not built: {error}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
