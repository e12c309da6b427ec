"""The few calls to a Kubernetes API server that the bed and its tests make.

Standard library only, so that it shares no code with what it judges.
"""

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class ApiError(Exception):
    """The server refused: `code` is the HTTP status, `status` its Status object."""

    def __init__(self, code: int, status: Json) -> None:
        super().__init__(f"{code} {status.get('reason', '')}: {status.get('message', '')}")
        self.code, self.status = code, status


class NotFound(ApiError): ...


class Conflict(ApiError): ...


_ERRORS = {404: NotFound, 409: Conflict}


class Api:
    """One API server and one identity; threads may share it, as each call is a connection of its own."""

    def __init__(self, server: str, *, token: str = "", ca: Path | None = None) -> None:
        self.server, self.token, self.ca = server, token, ca
        self._tls = ssl.create_default_context(cafile=str(ca)) if ca else None

    @classmethod
    def from_kubeconfig(cls, path: Path) -> "Api":
        """Read a kubeconfig that is written as JSON (which is YAML), as the beds' are."""
        config = json.loads(path.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = cluster.get("certificate-authority")
        return cls(cluster["server"], token=user.get("token", ""), ca=Path(authority) if authority else None)

    def kubeconfig(self, namespace: str = "default", token: str = "") -> str:
        cluster = {"server": self.server, **({"certificate-authority": str(self.ca)} if self.ca else {})}
        context = {"cluster": "bed", "user": "bed", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "bed",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": "bed", "user": {"token": token or self.token}}],
            "contexts": [{"name": "bed", "context": context}],
        }
        return json.dumps(config, indent=1)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        address = urlsplit(self.server)
        host, port = address.hostname or "", address.port
        if address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def open(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: str = "application/json",
        timeout: float = 30,
    ) -> http.client.HTTPResponse:
        """Send one request; the response is read and closed by the caller.

        Raises: ApiError for a status of 400 or above, OSError where nobody answers.
        """
        connection = self._connect(timeout)
        headers = {"Content-Type": content, "Connection": "close"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        if response.status < 400:
            return response
        with response:
            text = response.read().decode()
        try:
            status = json.loads(text)
        except ValueError:
            status = {"message": text[:500]}
        raise _ERRORS.get(response.status, ApiError)(response.status, status)

    def call(self, method: str, path: str, body: object = None, content: str = "application/json") -> Json:
        with self.open(method, path, body, content=content) as response:
            value: Json = json.load(response)
            return value

    def get(self, path: str) -> Json:
        return self.call("GET", path)

    def items(self, path: str) -> list[Json]:
        return self.list(path)[0]

    def list(self, path: str) -> tuple[list[Json], str]:
        """Return the items and the resourceVersion to watch from."""
        found = self.get(path)
        return found["items"], found["metadata"]["resourceVersion"]

    def create(self, path: str, body: Json) -> Json:
        return self.call("POST", path, body)

    def replace(self, path: str, body: Json) -> Json:
        return self.call("PUT", path, body)

    def patch(self, path: str, body: Json) -> Json:
        return self.call("PATCH", path, body, MERGE_PATCH)

    def delete(self, path: str, options: Json | None = None) -> Json:
        return self.call("DELETE", path, options or {})

    def apply(self, collection: str, manifest: Json) -> Json:
        """Server-side apply."""
        path = f"{collection}/{manifest['metadata']['name']}?fieldManager=realbed&force=true"
        return self.call("PATCH", path, manifest, APPLY_PATCH)

    def watch(self, path: str, version: str, seconds: int = 3600) -> Iterator[Json]:
        sep = "&" if "?" in path else "?"
        query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}"
        with self.open("GET", f"{path}{sep}{query}", timeout=seconds + 30) as stream:
            for line in stream:
                yield json.loads(line)
