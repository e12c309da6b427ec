"""`chaosplugin --self-check` against the embedded cluster."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from chaosplugin import __version__, selfcheck
from chaosplugin.sandbox import cluster
from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, UPSTREAM_ROLE
from chaosplugin.transport.folder import PrivateFolder


@contextmanager
def _cluster(folder: Path) -> Iterator[cluster.Cluster]:
    running = cluster.start(lambda: datetime.now(UTC), folder)  # noqa: TID251 - a bed stands where app does
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(running) as bed:
        yield bed


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[cluster.Cluster]:
    with _cluster(tmp_path) as running:
        yield running


def _check(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "chaosplugin", "--self-check", *arguments]
    seen = {**os.environ, **environment}
    return subprocess.run(command, env=seen, capture_output=True, text=True, check=False)


def test_where_nothing_is_missing_it_says_so(bed: cluster.Cluster) -> None:
    said = _check(KUBECONFIG=str(bed.kubeconfig(ARGO_ROLLOUTS)))

    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.count("ok       ") == 5
    assert said.stdout.startswith(f"ok       chaosplugin {__version__}, Python 3.")
    assert "in all namespaces we have every right" in said.stdout


def test_missing_rights_are_named_with_the_command_that_grants_them(bed: cluster.Cluster) -> None:
    bed.access.revoke(ARGO_ROLLOUTS)
    bed.access.grant(ARGO_ROLLOUTS, UPSTREAM_ROLE)
    said = _check("--namespace", "default", KUBECONFIG=str(bed.kubeconfig(ARGO_ROLLOUTS)))

    assert said.returncode == 1
    assert "MISSING  in namespace default we may not create podchaos" in said.stdout
    assert "kubectl apply -k deploy/namespace" in said.stdout
    assert "kubectl apply -k deploy/identity" in said.stdout
    assert "analysisruns" not in said.stdout


def test_what_gates_lose_that_cannot_be_written_down_is_told(bed: cluster.Cluster) -> None:
    bed.access.revoke(ARGO_ROLLOUTS)
    bed.access.grant(ARGO_ROLLOUTS, [each for each in UPSTREAM_ROLE if "analysisruns" not in each.resources])
    said = _check("--namespace", "default", KUBECONFIG=str(bed.kubeconfig(ARGO_ROLLOUTS)))

    assert "MISSING  in namespace default we may not patch analysisruns\n" in said.stdout
    assert "gates take no turns" in said.stdout


def test_a_server_is_told_what_an_account_of_its_own_lacks(bed: cluster.Cluster) -> None:
    said = _check("--server", "--namespace", "default", KUBECONFIG=str(bed.kubeconfig(ARGO_ROLLOUTS)))

    assert said.returncode == 1
    assert "we may not create tokenreviews\n         kubectl apply -k deploy/server" in said.stdout
    assert "we may not create configmaps\n         kubectl apply -k deploy/gates" in said.stdout
    assert "podchaos" not in said.stdout


def test_without_a_cluster_it_says_how_to_give_one() -> None:
    said = _check(KUBECONFIG="")

    assert said.returncode == 1
    assert "--kubeconfig" in said.stdout
    assert said.stderr == ""


def test_a_folder_without_room_for_a_socket_is_passed_over_as_the_plugin_does(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    said = _check(KUBECONFIG=str(tmp_path / "none"), TMPDIR=str(deep))

    assert "ok       a socket can be made in /tmp\n" in said.stdout


def test_where_no_folder_will_do_each_is_named_with_what_mends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> PrivateFolder:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("chaosplugin.transport.listener.PrivateFolder", refuse)
    found = selfcheck._sockets({"TMPDIR": "/here"})

    assert found.text == "no folder for a socket; /here: Permission denied; /tmp: Permission denied"
    assert found.mend.startswith("mount an emptyDir at /tmp")
