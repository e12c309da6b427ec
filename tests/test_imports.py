"""What a mode does not need it does not import, and nobody who is cancelled waits for an import."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import anyio
import pytest

from chaosplugin.imports import import_modules

_SERVERS_ONLY = "{'grpc', 'google', 'cryptography', 'google.protobuf'}"
_SECONDS = 30


@pytest.mark.parametrize("module", ["cli", "app", "options", "kube.clusters"])
def test_the_plugin_mode_does_without_what_servers_need(module: str) -> None:
    code = f"import sys, chaosplugin.{module}; print({_SERVERS_ONLY} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


# -- in a thread


class Probe(ModuleType):
    """What the modules of a test meet."""

    def __init__(self) -> None:
        super().__init__("probe_of_imports")
        self.begun, self.goes_on, self.over = threading.Event(), threading.Event(), threading.Event()


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    """A package whose first module takes its time, and whose second then follows."""
    found = Probe()
    package = tmp_path / "slow_to_import"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import probe_of_imports as probe\n"
        "try:\n    import slow_to_import.first, slow_to_import.second\nfinally:\n    probe.over.set()\n"
    )
    (package / "first.py").write_text(
        f"import probe_of_imports as probe\nprobe.begun.set()\nprobe.goes_on.wait({_SECONDS})\n"
    )
    (package / "second.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, found.__name__, found)
    yield found
    for name in [name for name in sys.modules if name.startswith("slow_to_import")]:
        del sys.modules[name]


async def _happens(event: threading.Event) -> None:
    with anyio.fail_after(_SECONDS):
        assert await anyio.to_thread.run_sync(event.wait, _SECONDS)


async def test_who_is_cancelled_waits_for_no_import_and_what_is_left_of_it_is_not_begun(probe: Probe) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(import_modules, "slow_to_import")
        await _happens(probe.begun)
        tasks.cancel_scope.cancel()
    assert not probe.over.is_set()

    probe.goes_on.set()

    await _happens(probe.over)
    assert "slow_to_import.second" not in sys.modules


async def test_all_is_imported_where_nobody_is_cancelled(probe: Probe) -> None:
    probe.goes_on.set()

    await import_modules("slow_to_import", "slow_to_import.second")

    assert "slow_to_import.second" in sys.modules


async def test_what_cannot_be_imported_is_an_error_and_later_imports_are_none_of_it(probe: Probe) -> None:
    probe.goes_on.set()
    with pytest.raises(ModuleNotFoundError):
        await import_modules("slow_to_import.third")

    await anyio.to_thread.run_sync(__import__, "slow_to_import.second")
