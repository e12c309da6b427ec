"""`chaosplugin serve` beside the bed, as a process that may be killed."""

import subprocess
import sys
from pathlib import Path

from tests.interop.leftovers import until


class Server:
    """A server at a unix socket, with the rights of a kubeconfig; `log` is its log."""

    def __init__(self, kubeconfig: Path, socket: Path, log: Path, *options: str) -> None:
        self.address = f"unix://{socket}"
        self._command = [sys.executable, "-m", "chaosplugin", "serve", "--listen", self.address]
        self._command += ["--kubeconfig", str(kubeconfig), *options]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("a") as log:
            before = log.tell()
            self._process = subprocess.Popen(self._command, stderr=log)
        until(lambda: "serving at" in self._log.read_text()[before:], 60)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
