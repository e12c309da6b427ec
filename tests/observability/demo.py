"""`make demo TELEMETRY=1`: the demo, with a Prometheus that scrapes it and a Jaeger that takes its traces.

    python -m tests.observability.demo

Both are brought into the user's cache folder. All keeps running after the story, until ctrl-C.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.observability import judges
from tests.observability.queries import FOLDER


def main() -> int:
    """Run the demo beside the judges; its exit code is ours."""
    sys.stdout.write("==> bringing Prometheus and Jaeger (the first time five minutes, to build Jaeger)\n")
    sys.stdout.flush()
    (port,) = judges.free_ports(1)
    address = f"127.0.0.1:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="chaosplugin-telemetry-") as folder,
        judges.jaeger(Path(folder) / "jaeger") as jaeger,
        judges.prometheus(Path(folder) / "prometheus", address, FOLDER / "rules.yaml") as prometheus,
    ):
        sys.stdout.write(
            f"Prometheus  {prometheus.url}/graph?g0.expr=rollouts_chaos_gates_total\n"
            f"Jaeger      {jaeger.url}/api/traces?service={judges.SERVICE} (its page needs a release build)\n"
            f"            {sys.executable} -m tests.observability.tree {jaeger.url} shows it as text\n"
            f"plugin      http://{address}/metrics, /debug/runs, /readyz, from the first gate on\n"
            "Dashboards  observability/dashboards, for a Grafana (observability/compose.yaml brings one)\n\n"
        )
        sys.stdout.flush()
        command = [sys.executable, "-m", "chaosplugin", "demo", "--stay", "--metrics-address", address]
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.otlp}
        with subprocess.Popen(command, env=environment) as demo:
            try:
                return demo.wait()
            except KeyboardInterrupt:
                return demo.wait()


if __name__ == "__main__":
    sys.exit(main())
