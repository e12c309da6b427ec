"""A web server with files for the controller to fetch, at the address that deploy/download names."""

import hashlib
import http.server
import re
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from tests.e2e import rendering
from tests.e2e.manifests import Json
from tests.realbed import pki


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def plugin(config: Json) -> Json:
    """Return what a ConfigMap says of the plugin."""
    (entry,) = yaml.safe_load(config["data"]["metricProviderPlugins"])
    found: Json = entry
    return found


def location(version: str) -> str:
    """Return the address of a version, in the manner of deploy/download."""
    (config,) = rendering.patches("download")
    return re.sub(r"/\d+\.\d+\.\d+/", f"/{version}/", plugin(config)["location"])


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def with_digest(file: Path) -> Callable[[Json, Json], None]:
    """Return a change of a ConfigMap, as the README asks for: the line of SHA256SUMS."""

    def change(_: Json, config: Json) -> None:
        data = config["data"]
        data["metricProviderPlugins"] = data["metricProviderPlugins"].replace("0" * 64, digest(file))

    return change


@contextmanager
def served(folder: Path, authority: Path, files: Mapping[str, Path]) -> Iterator[None]:
    """Serve files by their versions, over TLS, with a certificate by the authority of `pki`."""
    for version, file in files.items():
        path = folder / urlsplit(location(version)).path.lstrip("/")
        path.parent.mkdir(parents=True)
        shutil.copy(file, path)
    host = str(urlsplit(location("0.0.0")).hostname)
    pki.make_server(authority, host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / f"{host}.crt", authority / f"{host}.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 443), partial(_Quiet, directory=folder)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
