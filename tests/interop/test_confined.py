"""The plugin confined as the controller's container is: no privileges, user 999, a read-only root."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import hosts
from tests.interop.conftest import Plugin
from tests.interop.leftovers import children, files, until
from tests.interop.test_argo_client import GOOD

pytestmark = [pytest.mark.system, pytest.mark.timeout(1500)]  # the first test of a machine builds the host

# $1 becomes a folder in memory, as an emptyDir is; nothing else can be written to
_CONFINE = """\
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/tmp"
mount -o remount,bind,ro /
cd "$1"
shift
exec unshare --user --map-user=999 --map-group=999 setpriv --no-new-privs --inh-caps=-all "$@"
"""


@pytest.fixture
def confined(
    binary: Path, tmp_path: Path, environment: dict[str, str], plugin: Plugin
) -> Iterator[hosts.Host]:
    assert os.geteuid() == 0, "make test-system wants root: it mounts"
    folder = tmp_path / "home"
    folder.mkdir()
    confinement = (
        "unshare",
        "--mount",
        "--propagation=private",
        "sh",
        "-c",
        _CONFINE,
        "confine",
        str(folder),
    )
    seen = {**environment, "TMPDIR": str(folder / "tmp")}
    with hosts.running(binary, tmp_path, seen, confinement) as host:
        assert host.ask("load", plugins=plugin.config).error == ""
        yield host


def test_the_plugin_works_and_leaves_nothing(confined: hosts.Host, tmp_path: Path) -> None:
    scratch = Path(
        f"/proc/{confined.pid}/root{tmp_path}/home/tmp"
    )  # seen from outside of its mount namespace
    answer = confined.call("Run", run=None, metric=GOOD)
    (pid,) = children(confined.pid)
    status = Path(f"/proc/{pid}/status").read_text()
    open_files = files(scratch)
    confined.ask("cleanup")
    until(lambda: not children(confined.pid))

    assert answer.result["phase"] == "Error"
    assert "AnalysisRun" in answer.result["message"]
    assert "CapEff:\t0000000000000000" in status
    assert open_files
    assert files(scratch) == []
