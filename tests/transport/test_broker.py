import socket

import anyio
import pytest
from anyio.abc import SocketStream

from chaosplugin.transport.broker import Broker, BrokerFullError


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def pair() -> tuple[SocketStream, SocketStream]:
    a, b = socket.socketpair()
    return await SocketStream.from_socket(a), await SocketStream.from_socket(b)


async def met(broker: Broker[str], data: bytes) -> tuple[str | None, bytes]:
    """What a stream that begins with `data` is for, and what it gets back."""
    host, ours = await pair()
    async with host:
        async with ours:
            for i in range(len(data)):
                await host.send(data[i : i + 1])
            what = await broker.meet(ours)
        try:
            return what, await host.receive()
        except anyio.EndOfStream:
            return what, b""


async def test_numbers_count_from_one_and_come_back() -> None:
    broker: Broker[str] = Broker(Clock())
    assert [broker.expect("a"), broker.expect("b")] == [1, 2]

    assert await met(broker, b"\x02\0\0\0") == ("b", b"\x02\0\0\0")
    assert await met(broker, b"\x01\0\0\0") == ("a", b"\x01\0\0\0")


async def test_a_number_nobody_waits_for_is_not_acknowledged() -> None:
    broker: Broker[str] = Broker(Clock())
    broker.expect("a")
    assert await met(broker, b"\0\0\0\x01") == (None, b"")
    assert (await met(broker, b"\x01\0\0\0"))[0] == "a"
    assert await met(broker, b"\x01\0\0\0") == (None, b"")


async def test_a_number_is_good_for_five_seconds() -> None:
    clock = Clock()
    broker: Broker[str] = Broker(clock)
    broker.expect("a")
    clock.now += 5
    assert await met(broker, b"\x01\0\0\0") == (None, b"")


async def test_a_stream_that_names_nothing_is_given_up_after_five_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chaosplugin.transport.broker._WAIT_S", 0.05)
    broker: Broker[str] = Broker(Clock())
    host, ours = await pair()
    async with host, ours:
        await host.send(b"\x01\0")
        assert await broker.meet(ours) is None


async def test_numbers_that_nobody_uses_are_bounded() -> None:
    clock = Clock()
    broker: Broker[str] = Broker(clock)
    for _ in range(256):
        broker.expect("a")
    with pytest.raises(BrokerFullError):
        broker.expect("a")

    clock.now += 6
    assert broker.expect("a") == 257
