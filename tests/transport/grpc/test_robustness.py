"""What strangers may do to a server: it answers all others meanwhile, and keeps nothing of it."""

import os
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
import grpc
import pytest
from grpc_health.v1 import health_pb2

from chaosplugin.transport._pb import gates_pb2, metric_provider_pb2
from chaosplugin.transport.grpc import dispatch, gates, server
from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from chaosplugin.transport.grpc.tokens import Tokens
from tests.transport.grpc.bed import Authority, channel, local, run, serving
from tests.transport.grpc.feeding import feeding

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def at(folder: Path) -> Listening:
    return Listening((Address(path=str(folder / "s")),))


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.02)


async def answers(folder: Path) -> bool:
    async with channel(Target(Address(path=str(folder / "s")))) as made:
        return bool((await run(made)).measurement)


def connections(folder: Path, count: int, words: Callable[[int], bytes]) -> Iterator[socket.socket]:
    for number in range(count):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.connect(str(folder / "s"))
        made.sendall(words(number))
        yield made


async def send(made: grpc.aio.Channel, path: str, request: bytes) -> bytes:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(path)
    return await method(request, timeout=20)


async def test_a_thousand_connections_that_come_and_go_leave_nothing(tmp_path: Path) -> None:
    noise = random.Random(8)  # noqa: S311 - no secret
    said = [lambda _: b"", lambda _: PREFACE, lambda _: PREFACE + noise.randbytes(200), noise.randbytes]
    async with serving(at(tmp_path)):
        assert await answers(tmp_path)
        for made in connections(tmp_path, 200, lambda number: said[number % 4](100)):
            made.close()
        before, fds = resident_mb(), descriptors()

        for made in connections(tmp_path, 1000, lambda number: said[number % 4](100)):
            made.close()
            await anyio.lowlevel.checkpoint()

        assert await answers(tmp_path)
        await until(lambda: descriptors() <= fds + 5)
        assert resident_mb() - before < 30


async def test_who_says_nothing_is_hung_up_on_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = [
        ("grpc.server_handshake_timeout_ms", 300) if "handshake" in key else (key, value)
        for key, value in server._OPTIONS
    ]
    monkeypatch.setattr(server, "_OPTIONS", quick)
    async with serving(at(tmp_path)):
        assert await answers(tmp_path)
        before, fds = resident_mb(), descriptors()
        silent = list(connections(tmp_path, 100, lambda number: PREFACE[: number % len(PREFACE)]))

        assert await answers(tmp_path)
        for made in silent:
            made.settimeout(20)
            await anyio.to_thread.run_sync(_read_all, made)
        await until(lambda: descriptors() <= fds + 5)
        assert resident_mb() - before < 30


async def test_who_says_it_byte_by_byte_is_hung_up_on_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow loris: there is always something said, and never enough."""
    quick = [
        ("grpc.server_handshake_timeout_ms", 1000) if "handshake" in key else (key, value)
        for key, value in server._OPTIONS
    ]
    monkeypatch.setattr(server, "_OPTIONS", quick)
    async with serving(at(tmp_path)):
        assert await answers(tmp_path)
        fds = descriptors()
        slow = list(connections(tmp_path, 100, lambda _: b""))
        for byte in PREFACE[:-1]:  # beyond it, or with a byte of something else, it would be refused at once
            slow = [made for made in slow if _says(made, bytes((byte,)))]
            if not slow:
                break
            await anyio.sleep(0.5)

        assert not slow
        assert await answers(tmp_path)
        await until(lambda: descriptors() <= fds + 5)


def _says(made: socket.socket, data: bytes) -> bool:
    """Tell whether the other end still listens; else close this one."""
    try:
        made.sendall(data)
    except OSError:
        made.close()
        return False
    return True


def _read_all(made: socket.socket) -> None:
    with made:
        while made.recv(4096):
            pass


async def test_a_message_beyond_the_limit_is_refused_and_a_request_at_it_is_not(tmp_path: Path) -> None:
    async with serving(at(tmp_path)), channel(Target(Address(path=str(tmp_path / "s")))) as made:
        assert await answers(tmp_path)
        fds = descriptors()
        path = "/chaosplugin.v1.MetricProviderService/GetType"
        fits = metric_provider_pb2.RunRequest(
            analysis_run=b"x" * (server.MAX_MESSAGE - 16)
        ).SerializeToString()
        assert await send((await made._current()).channel, path, fits)
        raw = grpc.aio.insecure_channel(f"unix:{tmp_path}/s", [("grpc.max_send_message_length", -1)])
        async with raw:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await send(raw, path, fits + b"x" * 64)

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await until(lambda: descriptors() <= fds + 5)
        assert await answers(tmp_path)


JSON = [b"", b"{", b"{}", b"null", b"[]", b'{"metadata":1}', b'{"provider":{"plugin":{"a":{}}}}', b"[" * 5000]


async def test_requests_made_of_noise_are_refused_one_by_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = random.Random(80)  # noqa: S311 - no secret
    service = metric_provider_pb2.DESCRIPTOR.services_by_name["MetricProviderService"]
    async with serving(at(tmp_path)), channel(Target(Address(path=str(tmp_path / "s")))) as made:
        seen = set()
        for _ in range(600):
            method = noise.choice(service.methods)
            request = metric_provider_pb2.ResumeRequest(
                analysis_run=noise.choice(JSON), metric=noise.choice(JSON), measurement=noise.choice(JSON)
            ).SerializeToString()
            if noise.random() < 0.3:
                request = noise.randbytes(noise.randrange(60))
            path = f"/{service.full_name}/{method.name}"
            try:
                await send((await made._current()).channel, path, request)
                seen.add(grpc.StatusCode.OK)
            except grpc.aio.AioRpcError as error:
                seen.add(error.code())

        assert seen == {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
        assert [each for each in caplog.records if each.name.startswith(("chaosplugin", "grpc"))] == []
        assert await answers(tmp_path)


async def test_watchers_that_vanish_in_mid_stream_leave_nothing(tmp_path: Path) -> None:
    async with feeding(at(tmp_path)) as (fed, methods):
        fds = descriptors()
        for _ in range(5):
            channels = [
                grpc.aio.insecure_channel(f"unix:{tmp_path}/s", [("grpc.use_local_subchannel_pool", 1)])
                for _ in range(20)
            ]
            for made in channels:
                call = made.unary_stream(
                    f"/{gates.SERVICE.full_name}/WatchGates",
                    request_serializer=gates_pb2.WatchGatesRequest.SerializeToString,
                    response_deserializer=gates_pb2.WatchGatesResponse.FromString,
                )(gates_pb2.WatchGatesRequest())
                await call.read()
            assert methods._watchers == 20
            for made in channels:
                await made.close()
            await until(lambda: methods._watchers == 0)
            fed.step(1)

        await until(lambda: descriptors() <= fds + 5)


def _own_channel(folder: Path) -> grpc.aio.Channel:
    """Return a channel that shares its connection with no other."""
    return grpc.aio.insecure_channel(f"unix:{folder}/s", [("grpc.use_local_subchannel_pool", 1)])


def _begun(made: grpc.aio.Channel, method: str) -> grpc.aio.StreamStreamCall[bytes, bytes]:
    """Begin a call, and send no request."""
    opened: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = made.stream_stream(method)
    return opened()


async def test_calls_without_a_request_end_and_crowd_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_REQUEST_S", 2.0)
    path = "/chaosplugin.v1.MetricProviderService/GetType"
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(at(tmp_path)))
        channels = [await stack.enter_async_context(_own_channel(tmp_path)) for _ in range(2)]
        calls = [_begun(made, path) for made in channels for _ in range(600)]
        calls += [_begun(channels[0], "/grpc.health.v1.Health/Check") for _ in range(300)]

        codes = Counter([await call.code() for call in calls])
        assert codes.keys() <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert codes[grpc.StatusCode.DEADLINE_EXCEEDED] >= 1024 + 256
        assert await answers(tmp_path)


async def test_health_and_reflection_asked_without_end_crowd_nobody_out(tmp_path: Path) -> None:
    """They are open to whoever gets through, and hold their calls as long as these last."""
    service = health_pb2.HealthCheckRequest(service="x").SerializeToString()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(at(tmp_path)))
        heard, held, watches = 0, [], []
        for _ in range(5):
            made = await stack.enter_async_context(_own_channel(tmp_path))
            path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            held += [_begun(made, path) for _ in range(400)]
            watch: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = made.unary_stream(
                "/grpc.health.v1.Health/Watch"
            )
            watches += [watch(service) for _ in range(400)]
        for call in watches:
            with suppress(grpc.aio.AioRpcError):
                heard += isinstance(await call.read(), bytes)

        assert heard == 256
        assert await answers(tmp_path)


async def test_a_stranger_is_turned_away_before_its_request_is_taken_in(tmp_path: Path) -> None:
    reviewed: list[str] = []

    async def review(token: str) -> str:
        reviewed.append(token)
        return ""

    authority, address = Authority(tmp_path / "pki"), local()
    listening = Listening((address,), **authority.server, review_tokens=True, allowed=("bob",))
    with (tmp_path / "pki" / "ca.crt").open("rb") as roots:
        trusted = grpc.ssl_channel_credentials(roots.read())
    metadata = (("authorization", "Bearer x"),)
    async with (
        serving(listening, Tokens({"bob": None}, review)),
        grpc.aio.secure_channel(address.target, trusted) as made,
    ):
        opened: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = made.stream_stream(
            "/chaosplugin.v1.MetricProviderService/Run"
        )
        call = opened(metadata=metadata)

        with anyio.fail_after(20):
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reviewed == ["x"]


async def test_metadata_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    async with serving(at(tmp_path)), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as made:
        method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(
            "/chaosplugin.v1.MetricProviderService/GetType"
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await method(b"", metadata=(("x", "y" * (1 << 20)),), timeout=20)

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await answers(tmp_path)


def _frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return len(body).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + body


def _unread_call(path: str) -> bytes:
    """Return the words of a call by somebody who lets nothing be sent to it: its window is 0."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    headers = b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in fields.items()
    )
    settings = _frame(4, 0, 0, bytes((0, 4, 0, 0, 0, 0)))
    return PREFACE + settings + _frame(1, 4, 1, headers) + _frame(0, 1, 1, bytes(5))


async def test_who_takes_no_answer_takes_no_place_and_leaves_no_error_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dispatch, "_TAKEN_S", 1.0)
    monkeypatch.setattr(server, "_MAX_HEALTH_CALLS", 1)
    path = "/grpc.health.v1.Health/Check"
    async with serving(at(tmp_path)), _own_channel(tmp_path) as made:
        (unread,) = connections(tmp_path, 1, lambda _: _unread_call(path))
        unread.settimeout(20)
        heard = b""
        while b"application/grpc" not in heard:  # the answer's headers, which no window holds back
            heard += await anyio.to_thread.run_sync(unread.recv, 4096)
        with anyio.fail_after(20):
            while not await _is_answered(made, path):
                await anyio.sleep(0.05)
        unread.close()

    assert [each for each in caplog.records if each.levelname in {"ERROR", "WARNING"}] == []


async def _is_answered(made: grpc.aio.Channel, path: str) -> bool:
    try:
        await send(made, path, b"")
    except grpc.aio.AioRpcError:
        return False
    return True
