"""Brings and runs the judges: Prometheus with promtool as Debian packages them, Jaeger from its Go module.

Both stay in the user's cache folder; nothing is installed on the machine.
"""

import fcntl
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.realbed import toolchain

Json = dict[str, Any]
SERVICE = "rollouts-plugin-metric-chaos-mesh"
_HERE = Path(__file__).parent
_BUILD = ("build", "-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags=-s -w")
_STARTS_S = 60


def _folder() -> Path:
    folder = toolchain.cache_folder() / "observability"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let another run of the tests wait until what both want is there."""
    with (_folder() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prometheus_programs() -> tuple[Path, Path]:
    """Return prometheus and promtool: the machine's, or those of the Debian package, unpacked.

    Raises: subprocess.CalledProcessError.
    """
    installed = shutil.which("prometheus"), shutil.which("promtool")
    if installed[0] and installed[1]:
        return Path(installed[0]), Path(installed[1])
    unpacked = _folder() / "prometheus"
    with _locked("prometheus"):
        if not (unpacked / "usr" / "bin" / "promtool").exists():
            part = _folder() / "prometheus.part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            _download("prometheus", part)
            (package,) = part.glob("prometheus_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, part], check=True)
            shutil.rmtree(unpacked, ignore_errors=True)
            part.rename(unpacked)
    return unpacked / "usr" / "bin" / "prometheus", unpacked / "usr" / "bin" / "promtool"


def _download(package: str, folder: Path) -> None:
    """Download a package; where apt's lists are missing or old, they are brought first."""
    command = ["apt-get", "download", "-q", package]
    if subprocess.run(command, cwd=folder, check=False).returncode:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(command, cwd=folder, check=True)


def jaeger_program() -> Path:
    """Return Jaeger's all-in-one, built of its Go module.

    Raises: subprocess.CalledProcessError.
    """
    source = _HERE / "jaeger"
    sources = [source / "go.mod", source / "go.sum"]
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()[:16]
    binary = _folder() / f"jaeger-{digest}"
    with _locked("jaeger"):
        if not binary.exists():
            for old in _folder().glob("jaeger-*"):
                old.unlink()
            part = binary.with_suffix(".part")
            package = "github.com/jaegertracing/jaeger/cmd/all-in-one"
            toolchain.run(toolchain.find_go(), *_BUILD, "-o", str(part), package, cwd=source)
            part.rename(binary)
    return binary


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at, all at once, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def fetch(url: str, headers: Mapping[str, str] | None = None) -> str:
    """Raises: urllib.error.URLError."""
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - always a loopback http URL
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def wait_for(what: str, holds: Callable[[], object], seconds: float = _STARTS_S) -> None:
    """Raises: AssertionError."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what}: not in {seconds:g} s"
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        fetch(url)
    except (urllib.error.URLError, OSError):
        return False
    return True


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


class Prometheus:
    """A running Prometheus, asked by its API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **query: object) -> Any:
        answer: Json = json.loads(fetch(f"{self.url}/api/v1/{path}?{urlencode(query)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def over(self, expr: str, start: float, end: float) -> list[Json]:
        """Return the series of a query over time."""
        found: list[Json] = self.ask("query_range", query=expr, start=start, end=end, step=1)["result"]
        return found


@contextmanager
def prometheus(folder: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """Scrape `target` every second."""
    program, _ = prometheus_programs()
    (port,) = free_ports(1)
    folder.mkdir()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "chaosplugin",
                "static_configs": [{"targets": [target], "labels": {"pod": "demo"}}],
            }
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    command = [
        str(program),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=exemplar-storage",
    ]
    url = f"http://127.0.0.1:{port}"
    with _process(command, folder / "prometheus.log"):
        wait_for("Prometheus", lambda: answers(f"{url}/-/ready"))
        yield Prometheus(url)


class Jaeger:
    """A running Jaeger; `otlp` takes traces over gRPC, `otlp_http` over HTTP."""

    def __init__(self, url: str, otlp: str, otlp_http: str) -> None:
        self.url, self.otlp, self.otlp_http = url, otlp, otlp_http

    def traces(self) -> list[Json]:
        path = f"/api/traces?{urlencode({'service': SERVICE, 'limit': 1000})}"
        found: list[Json] = json.loads(fetch(self.url + path))["data"]
        return found


@contextmanager
def jaeger(folder: Path, query_port: int | None = None) -> Iterator[Jaeger]:
    """All of it on loopback."""
    folder.mkdir()
    query, grpc, http, *others = free_ports(11)
    query = query_port or query
    flags = {
        "query.http-server": query,
        "collector.otlp.grpc": grpc,
        "collector.otlp.http": http,
        "query.grpc-server": others[0],
        "admin.http": others[1],
        "collector.grpc-server": others[2],
        "collector.http-server": others[3],
        "http-server": others[4],
    }
    command = [
        str(jaeger_program()),
        *(f"--{name}.host-port=127.0.0.1:{port}" for name, port in flags.items()),
    ]
    for name, port in zip(("jaeger-compact", "jaeger-binary", "zipkin-compact"), others[5:], strict=False):
        command.append(f"--processor.{name}.server-host-port=127.0.0.1:{port}")
    url = f"http://127.0.0.1:{query}"
    with _process(command, folder / "jaeger.log"):
        wait_for("Jaeger", lambda: answers(f"{url}/api/services"))
        yield Jaeger(url, f"http://127.0.0.1:{grpc}", f"http://127.0.0.1:{http}")
