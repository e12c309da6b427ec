"""A client's way to a server: addresses, TLS, tokens; made anew when certificates change."""

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from chaosplugin import certificates, files
from chaosplugin.transport.grpc.addresses import Target
from chaosplugin.transport.grpc.kept import Metadata, Streams
from chaosplugin.transport.grpc.server import MAX_MESSAGE

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)

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


@dataclass(slots=True)
class _Way:
    """A connection by certain certificates, and how many calls use it."""

    channel: grpc.aio.Channel
    calls: int = 0
    streams: dict[str, Streams[Any, Any]] = field(default_factory=dict)
    """kept ones, by their methods"""


class Channel:
    """A channel to one target, opened by the first call. Without usable files calls raise OSError."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._paths = [file for file in (target.ca, target.certificate, target.key) if file]
        self._seen: files.Version | None = None
        self._way: _Way | None = None
        self._old: list[_Way] = []
        """by certificates that were replaced, which calls still use: a watch may last for days"""

    @property
    def target(self) -> str:
        """The address, as it is written."""
        return self._target.address.target

    async def close(self) -> None:
        for way in (*self._old, *([self._way] if self._way else ())):
            await way.channel.close()

    async def unary(self, path: str, request: Message, answer: Callable[[bytes], A], *, within_s: float) -> A:
        """Make a call. Raises: grpc.aio.AioRpcError, OSError."""
        way = await self._current()
        call = way.channel.unary_unary(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer
        )
        metadata = self._metadata()
        way.calls += 1
        try:
            return await call(request, timeout=within_s, metadata=metadata)
        finally:
            way.calls -= 1

    async def kept(self, path: str, request: Q, answer: Callable[[bytes], A], *, within_s: float) -> A | None:
        """Make a call of a method that takes a stream of requests, over one that is kept for the next call.

        Returns None if the server has ended the stream instead, or does not know the method: the call is to
        be made in another way. Raises: as `unary`.
        """
        way = await self._current()
        streams = way.streams.get(path)
        if streams is None:
            streams = way.streams[path] = Streams(way.channel, path, type(request), answer)
        metadata = self._metadata()
        way.calls += 1
        try:
            return await streams.call(request, metadata, within_s=within_s)
        finally:
            way.calls -= 1

    async def stream(
        self, path: str, request: Message, answer: Callable[[bytes], A]
    ) -> grpc.aio.UnaryStreamCall[Message, A]:
        """Begin a call that is answered many times. Raises: OSError."""
        way = await self._current()
        begin = way.channel.unary_stream(
            path, request_serializer=type(request).SerializeToString, response_deserializer=answer
        )
        call = begin(request, metadata=self._metadata())

        def ended(_: object) -> None:
            way.calls -= 1

        way.calls += 1
        call.add_done_callback(ended)
        return call

    async def _current(self) -> _Way:
        """Take new certificates into use; those of a Secret are renewed under our feet."""
        unused = [each for each in self._old if not each.calls]
        self._old = [each for each in self._old if each.calls]
        for each in unused:
            await each.channel.close()
        found, way = files.version(self._paths), self._way
        if way is None or found != self._seen:
            old, way = way, _Way(self._open())
            self._way, self._seen = way, found
            if old is not None:
                _log.info("certificates have changed: a new connection is made")
                self._old.append(old)
        return way

    def _open(self) -> grpc.aio.Channel:
        target = self._target
        options = list(_OPTIONS)
        if not target.secure:
            return grpc.aio.insecure_channel(target.address.target, options)
        if target.server_name:
            options.append(("grpc.ssl_target_name_override", target.server_name))
        ca = certificates.read_authorities(target.ca) if target.ca else None
        chain = key = None
        if target.certificate and target.key:
            chain, key = certificates.read_pair(target.certificate, target.key)
        credentials = grpc.ssl_channel_credentials(ca, key, chain)
        return grpc.aio.secure_channel(target.address.target, credentials, options)

    def _metadata(self) -> Metadata:
        """Show the token; read each time, as the kubelet replaces it."""
        if self._target.token_file is None:
            return ()
        token = Path(self._target.token_file).read_bytes().strip()
        if not token or any(byte <= 0x20 or byte >= 0x7F for byte in token):  # gRPC would raise ValueError
            raise OSError(errno.EBADMSG, "it holds no token", self._target.token_file)
        return (("authorization", f"Bearer {token.decode()}"),)
