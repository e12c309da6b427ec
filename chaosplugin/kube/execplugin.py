"""Running an exec credential plugin of a kubeconfig.

Source: client-go's plugin/pkg/client/auth/exec and the API group client.authentication.k8s.io. The
section of the kubeconfig is read by kubernetes-asyncio; the process is run here, because there nothing
ends a plugin that hangs, and client certificates are never loaded a second time.
"""

import json
import subprocess
from collections.abc import Callable
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Any

import anyio
import msgspec
from anyio.abc import ByteReceiveStream
from kubernetes_asyncio.config import ConfigException
from kubernetes_asyncio.config.exec_provider import ExecProvider

from chaosplugin.kube.credentials import Issued, is_token
from chaosplugin.kube.errors import UNREADABLE, NoCluster, one_line

_MAX_OUTPUT_BYTES = 1 << 20


class _ExecStatus(msgspec.Struct, rename="camel"):
    token: str = ""
    expiration_timestamp: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    client_certificate_data: str = ""
    client_key_data: str = ""


class _ExecCredential(msgspec.Struct, rename="camel"):
    api_version: str
    status: _ExecStatus


_decoder = msgspec.json.Decoder(_ExecCredential)


class ExecPlugin:
    """One plugin, called for each credential; a client certificate goes to `on_certificate`."""

    def __init__(
        self,
        section: Any,  # kubernetes-asyncio's ConfigNode, which has no types
        *,
        clock: Callable[[], datetime],
        on_certificate: Callable[[bytes, bytes], None],
    ) -> None:
        try:
            provider = ExecProvider(section)
        except (ConfigException, KeyError, TypeError, AttributeError) as error:
            raise NoCluster(f"kubeconfig: {error}") from None
        self._api_version = str(provider.api_version)
        self._command: list[str] = [str(word) for word in provider.args]
        info = {"apiVersion": self._api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
        self._env = {**provider.env, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        self._clock = clock
        self._on_certificate = on_certificate

    async def issue(self) -> Issued:
        """Run the plugin; cancelled, it is killed.

        Raises:
            NoCluster: it cannot be started, fails, or answers something else than a credential.
        """
        try:
            answer = _decoder.decode(await self._run())
        except UNREADABLE as error:
            raise NoCluster(f"credential plugin {self._command[0]}: its answer: {error}") from None
        if answer.api_version != self._api_version:
            raise NoCluster(
                f"credential plugin {self._command[0]} answers {answer.api_version}, "
                f"the kubeconfig says {self._api_version}"
            )
        status = answer.status
        if status.client_certificate_data and status.client_key_data:
            self._on_certificate(status.client_certificate_data.encode(), status.client_key_data.encode())
        elif not status.token:
            raise NoCluster(f"credential plugin {self._command[0]} gave neither a token nor a certificate")
        token = status.token.strip()
        if not is_token(token):
            raise NoCluster(
                f"credential plugin {self._command[0]}: its token holds characters that no header can"
            )
        expiry = status.expiration_timestamp
        return Issued(
            f"Bearer {token}" if token else "",
            (expiry - self._clock()).total_seconds() if expiry else None,
        )

    async def _run(self) -> bytes:
        outputs: dict[str, bytes] = {}

        async def collect(name: str, stream: ByteReceiveStream) -> None:
            outputs[name] = await _read(stream)

        try:
            process = await anyio.open_process(self._command, env=self._env, stdin=subprocess.DEVNULL)
        except (OSError, ValueError, TypeError) as error:  # a NUL; a variable's value that is no text
            raise NoCluster(f"credential plugin {self._command[0]} cannot be started: {error}") from None
        async with aclosing(process):  # kills it, unless it has ended
            async with anyio.create_task_group() as group:
                if process.stdout and process.stderr:
                    group.start_soon(collect, "stdout", process.stdout)
                    group.start_soon(collect, "stderr", process.stderr)
            code = await process.wait()
        if code:
            said = one_line(outputs.get("stderr", b"").decode(errors="replace"))
            raise NoCluster(f"credential plugin {self._command[0]} ended with {code}: {said}")
        return outputs.get("stdout", b"")


async def _read(stream: ByteReceiveStream) -> bytes:
    """Read to the end and keep the first part, so that a talkative plugin is not blocked."""
    kept = bytearray()
    async for chunk in stream:
        kept += chunk[: _MAX_OUTPUT_BYTES - len(kept)]
    return bytes(kept)
