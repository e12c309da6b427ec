"""`chaosplugin sandbox`: a cluster for a person, with kubeconfigs."""

import signal
import subprocess
import sys
from pathlib import Path

from chaosplugin.sandbox.api.access import ARGO_ROLLOUTS, SYSTEM

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

    assert f"kubeconfigs in {tmp_path}" in told
    for user, answer in said.items():
        assert answer.returncode == 0, f"{user}: {answer.stdout}{answer.stderr}"
    assert process.returncode == 130
