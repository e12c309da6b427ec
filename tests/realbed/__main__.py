"""Start the bed for a person, or around a command.

python -m tests.realbed [--argo argo-next] [--plugin NAME=FILE] [--work DIR] [-- COMMAND...]

The first line on stdout is JSON with paths, pids, seconds and memory. A command sees KUBECONFIG (an
administrator's) and REALBED (the bed's folder), and gives the exit status; without one the bed runs until it
is interrupted.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.realbed import bed, build, chaosmesh, netns
from tests.realbed.rollouts import VERSIONS, ArgoRollouts


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.realbed", description="the real control plane")
    parts = [version.part for version in VERSIONS]
    parser.add_argument("--argo", default=parts[0], choices=parts, help="which release of Argo Rollouts")
    parser.add_argument("--plugin", action="append", default=[], metavar="NAME=FILE", help="a metric plugin")
    parser.add_argument("--work", type=Path, help="keep state and logs here (default: a temporary folder)")
    parser.add_argument("command", nargs="*", help="after --: run this in the bed, then stop")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    netns.enter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    version = next(v for v in VERSIONS if v.part == arguments.argo)
    with ExitStack() as stack:
        scratch = arguments.work or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="realbed-")))
        running = stack.enter_context(bed.running(build.cache(), scratch.resolve()))
        chaosmesh.install(running)
        argo = ArgoRollouts(running, version)
        argo.install()
        pairs = [plugin.split("=", 1) for plugin in arguments.plugin]
        argo.configure([{"name": name, "location": f"file://{Path(file).resolve()}"} for name, file in pairs])
        argo.start()
        print(json.dumps(running.describe()), flush=True)  # noqa: T201  # what the caller asked for
        if not arguments.command:
            signal.sigwait([signal.SIGINT, signal.SIGTERM])
            return 0
        seen = {**os.environ, "KUBECONFIG": str(running.kubeconfig), "REALBED": str(scratch)}
        return subprocess.run(arguments.command, env=seen, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
