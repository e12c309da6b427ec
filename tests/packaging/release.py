"""What `make dist` has made; run as a program, the same as the next version."""

import hashlib
import platform
import shutil
import subprocess
from pathlib import Path

from chaosplugin import __version__
from tests.realbed import toolchain

NEXT = "0.2.0"
"""the version that the README's commands upgrade to"""
_ROOT = Path(__file__).parents[2]
_DIST = _ROOT / "dist"


def cpu() -> str:
    """Return Kubernetes' word for this machine's CPU."""
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def file(name: str = "") -> Path:
    """Return the one file for a CPU, by default this machine's."""
    path = _DIST / f"chaosplugin-linux-{name or cpu()}"
    assert path.exists(), f"run `make {path.relative_to(_DIST.parent)}`"
    return path


def cache() -> Path:
    """Return where `make dist` keeps what it fetched."""
    return toolchain.cache_folder() / "onefile"


def copy_sources(folder: Path) -> None:
    """Copy what is, or would be, committed, and let it be built with what is installed here."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=_ROOT, check=True, capture_output=True, text=True).stdout
    for name in names.split("\0")[:-1]:
        if (_ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_ROOT / name, folder / name)
    (folder / ".venv").symlink_to(_ROOT / ".venv")


def next_file() -> Path:
    """Return the one file as the next version, built of the same sources unless that was done before.

    To build it reaches for mirrors, which nobody does within `tests.realbed.netns`.
    """
    digest = hashlib.sha256(file().read_bytes()).hexdigest()[:16]
    folder = _ROOT / "build" / "next"
    kept = folder / f"chaosplugin-{NEXT}-{digest}"
    if not kept.exists():
        shutil.rmtree(folder, ignore_errors=True)
        sources = folder / "sources"
        copy_sources(sources)
        module = sources / "chaosplugin" / "__init__.py"
        text = module.read_text()
        assert text.count(__version__) == 1
        module.write_text(text.replace(__version__, NEXT))
        built = file().relative_to(_ROOT)
        make = ["make", "--silent", "--old-file=.venv/.packaging", str(built)]
        subprocess.run(make, cwd=sources, check=True, stdout=subprocess.DEVNULL)
        (sources / built).rename(kept)
        shutil.rmtree(sources)
    return kept


if __name__ == "__main__":
    next_file()
