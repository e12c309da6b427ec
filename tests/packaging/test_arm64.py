"""The file for the other CPU, in the same bare root, under an emulator."""

from pathlib import Path

import pytest

from chaosplugin import __version__
from tests.packaging import release, tools
from tests.packaging.bareroot import BareRoot

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture
def emulated(tmp_path: Path) -> BareRoot:
    emulator = tools.from_debian("qemu-aarch64-static", "qemu-user-static")
    return BareRoot(tmp_path, release.file("arm64"), emulator)


def test_it_unpacks_starts_and_loads_everything(emulated: BareRoot) -> None:
    said = emulated.run("--self-check")

    assert said.stdout.startswith(f"ok       chaosplugin {__version__}, Python 3.11."), said.stderr
    assert ", aarch64: " in said.stdout
    assert "ok       a socket can be made in /tmp" in said.stdout
    assert len(emulated.trees()) == 1


def test_it_says_its_handshake(emulated: BareRoot) -> None:
    with emulated.running({}) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("1|1|unix|")
