"""What `make dist` has made."""

import platform
from pathlib import Path

from tests.realbed import toolchain

_DIST = Path(__file__).parents[2] / "dist"


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
