"""A client's way to a server: addresses, TLS, tokens; made anew when certificates change."""

import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message

from chaosplugin import files
from chaosplugin.transport.grpc.addresses import Target
from chaosplugin.transport.grpc.server import MAX_MESSAGE

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
_Metadata = Sequence[tuple[str, str | bytes]]

_OPTIONS: Sequence[tuple[str, str | int]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),  # a server that is back is found soon
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),  # whoever calls knows better what may be said twice
)

_log = logging.getLogger(__name__)


class Channel:
    """A channel to one target, opened by the first call. Without its files calls raise OSError."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._paths = [file for file in (target.ca, target.certificate, target.key) if file]
        self._seen: files.Version | None = None
        self._channel: grpc.aio.Channel | None = None

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def unary(self, path: str, request: Message, answer: Callable[[bytes], A], *, within_s: float) -> A:
        """Make a call. Raises: grpc.aio.AioRpcError, OSError."""
        channel = await self._current()
        call = channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer
        )
        return await call(request, timeout=within_s, metadata=self._metadata())

    async def stream(
        self, path: str, request: Message, answer: Callable[[bytes], A]
    ) -> grpc.aio.UnaryStreamCall[Message, A]:
        """Begin a call that is answered many times. Raises: OSError."""
        channel = await self._current()
        call = channel.unary_stream(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer
        )
        return call(request, metadata=self._metadata())

    async def _current(self) -> grpc.aio.Channel:
        """Take new certificates into use; those of a Secret are renewed under our feet."""
        found = files.version(self._paths)
        channel = self._channel
        if channel is None or found != self._seen:
            old, channel = channel, self._open()
            self._channel, self._seen = channel, found
            if old is not None:
                _log.info("certificates have changed: a new connection is made")
                await old.close(grace=5)
        return channel

    def _open(self) -> grpc.aio.Channel:
        target = self._target
        options = list(_OPTIONS)
        if not target.secure:
            return grpc.aio.insecure_channel(target.address.target, options)
        if target.server_name:
            options.append(("grpc.ssl_target_name_override", target.server_name))
        read = (
            Path(file).read_bytes() if file else None for file in (target.ca, target.key, target.certificate)
        )
        return grpc.aio.secure_channel(target.address.target, grpc.ssl_channel_credentials(*read), options)

    def _metadata(self) -> _Metadata:
        """Show the token; read each time, as the kubelet replaces it."""
        if self._target.token_file is None:
            return ()
        token = Path(self._target.token_file).read_bytes().strip()
        if not token or any(byte <= 0x20 or byte >= 0x7F for byte in token):  # gRPC would raise ValueError
            raise OSError(errno.EBADMSG, "it holds no token", self._target.token_file)
        return (("authorization", f"Bearer {token.decode()}"),)
