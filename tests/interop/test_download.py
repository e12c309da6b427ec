"""The one file, fetched as Argo Rollouts fetches plugins, and what Argo says when that goes wrong."""

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from tests.interop.conftest import NAME, Plugin
from tests.interop.hosts import Host
from tests.interop.test_argo_client import GOOD

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(1500),  # the first test of a machine builds the host
    pytest.mark.parametrize("plugin", ["one file"], indirect=True),
]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url(plugin: Plugin) -> Iterator[str]:
    """Where a web server has the file; its folder has an HTML page, too."""
    (plugin.file.parent / "page.html").write_text("<html>sign in</html>")
    handler = functools.partial(_Quiet, directory=plugin.file.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _plugins(location: str, sha256: str = "") -> str:
    return json.dumps([{"name": NAME, "location": location, "sha256": sha256}])


def test_it_is_downloaded_checked_and_run(host: Host, url: str, plugin: Plugin) -> None:
    digest = hashlib.sha256(plugin.file.read_bytes()).hexdigest()
    loaded = host.ask("load", plugins=_plugins(f"{url}/{plugin.file.name}", digest))

    assert loaded.error == ""
    assert host.call("Type", metric=GOOD).result == "ChaosMesh"


def test_another_sha256_is_refused(host: Host, url: str, plugin: Plugin) -> None:
    loaded = host.ask("load", plugins=_plugins(f"{url}/{plugin.file.name}", "0" * 64))

    assert "sha256 hash" in loaded.error


def test_a_page_instead_of_the_file_cannot_be_run(host: Host, url: str) -> None:
    loaded = host.ask("load", plugins=_plugins(f"{url}/page.html"))
    got = host.call("Get", metric=GOOD)

    assert loaded.error == ""
    assert "exec format error" in got.error


def test_a_new_version_is_written_over_one_that_still_runs(host: Host, plugin: Plugin) -> None:
    """What a controller does that is restarted in its pod while a plugin has not ended yet."""
    plugins = _plugins(f"file://{plugin.file}")
    host.ask("load", plugins=plugins)
    running = host.call("Type", metric=GOOD)
    again = host.ask("load", plugins=plugins)

    assert running.error == ""
    assert again.error == ""  # with a file that is held: text file busy
