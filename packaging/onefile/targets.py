"""The CPUs that the file is built for, and what each is called by whom."""

import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is Debian's, Go's and Kubernetes' word for the CPU, `machine` that of compilers and wheels."""

    name: str
    machine: str
    loader: str

    @property
    def triplet(self) -> str:
        """Debian's folder of this CPU's libraries and headers."""
        return f"{self.machine}-linux-gnu"

    @property
    def wheel_platforms(self) -> list[str]:
        """What a wheel may ask for, where glibc is Debian 12's."""
        old = [f"manylinux{year}_{self.machine}" for year in ("1", "2010", "2014")]
        return [*old, *(f"manylinux_2_{minor}_{self.machine}" for minor in range(17, 37))]

    def library_folders(self, root: Path) -> list[Path]:
        """Return where the libraries are in Debian's unpacked packages."""
        return [root / "lib" / self.triplet, root / "usr" / "lib" / self.triplet]


TARGETS = {
    "amd64": Target("amd64", "x86_64", "ld-linux-x86-64.so.2"),
    "arm64": Target("arm64", "aarch64", "ld-linux-aarch64.so.1"),
}


def host() -> Target:
    """Return the CPU that builds: its Python compiles for all.

    Raises: LookupError, on any other CPU.
    """
    for target in TARGETS.values():
        if target.machine == platform.machine():
            return target
    raise LookupError(f"the file is built on {' or '.join(TARGETS)}, this is {platform.machine()}")
