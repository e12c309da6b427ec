"""Ports of a server, and why one cannot be had: gRPC tells it to nobody."""

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from chaosplugin.transport.grpc import ports, server
from chaosplugin.transport.grpc.addresses import Address, Listening, parse
from chaosplugin.transport.grpc.credentials import CannotServeError
from tests.transport.grpc.bed import serving


def listener(host: str) -> socket.socket:
    """Listen there, and nowhere else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family is socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((host, 0))
    made.listen()
    return made


@pytest.fixture(params=["127.0.0.1", "::1"])
def taken(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """A host and a port of it at which somebody listens."""
    with listener(request.param) as somebody:
        yield request.param, somebody.getsockname()[1]


async def refused(text: str) -> str:
    """Return why nothing can be served at this address."""
    with pytest.raises(CannotServeError) as caught:
        async with server.serving(Listening((parse(text),), insecure=True), [], []):
            pass
    return str(caught.value)


@pytest.mark.parametrize("as_written", ["exactly", "localhost", "[::]"])
async def test_a_port_that_is_taken_is_so_wherever_it_is_reached(
    taken: tuple[str, int], as_written: str
) -> None:
    """Of several addresses of one name gRPC would be content with the others."""
    host, port = taken
    exact = f"[{host}]" if ":" in host else host
    text = f"{exact if as_written == 'exactly' else as_written}:{port}"

    said = await refused(text)

    assert said.startswith(f"cannot listen at {text}: something listens at ")
    assert f"listens at {exact}:{port}" in said or as_written == "[::]"
    assert said.endswith("already; end it, or choose another port")


async def test_what_this_server_itself_has_taken_is_taken() -> None:
    with listener("127.0.0.1") as free:
        port = free.getsockname()[1]
    address = parse(f"127.0.0.1:{port}")

    with pytest.raises(CannotServeError, match="listens at"):
        async with server.serving(Listening((address, address)), [], []):
            pass


async def test_a_port_whose_last_server_has_just_hung_up_is_free() -> None:
    """The kernel remembers its connections for a minute, in which it is started anew."""
    with listener("127.0.0.1") as before:
        at = before.getsockname()
        with socket.create_connection(at) as client:
            accepted, _ = before.accept()
            accepted.close()  # who closes first is the one to remember
            assert client.recv(1) == b""

    async with server.serving(Listening((Address(host=at[0], port=at[1]),)), [], []) as running:
        assert running.targets == [f"127.0.0.1:{at[1]}"]


@pytest.mark.parametrize("host", ["198.51.100.7", "[2001:db8::7]"])  # for documentation: nobody has them
async def test_an_address_of_another_host_is_none_to_listen_at(host: str) -> None:
    said = await refused(f"{host}:7000")

    assert said == (
        f"cannot listen at {host}:7000: {host.strip('[]')} is no address of this host; "
        "choose one that is, or 0.0.0.0 for all"
    )


async def test_a_name_that_nobody_knows_is_none_to_listen_at() -> None:
    said = await refused("no-such-host.invalid:7000")

    assert said.startswith("cannot listen at no-such-host.invalid:7000: no-such-host.invalid: ")
    assert said.endswith("; choose an address of this host, or 0.0.0.0 for all")


async def test_a_port_of_the_privileged_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played, as tests may be run by root."""

    def forbid(self: socket.socket, address: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", forbid)

    assert await refused("127.0.0.1:443") == (
        "cannot listen at 127.0.0.1:443: Permission denied; choose a port from 1024 up, "
        "or grant CAP_NET_BIND_SERVICE"
    )
    assert await refused("127.0.0.1:8443") == "cannot listen at 127.0.0.1:8443: Permission denied"


@pytest.mark.parametrize("host", ["localhost", "::"])
def test_where_there_is_no_ipv6_a_name_of_both_is_that_of_ipv4(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.socket

    def without(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, kind)

    with listener("127.0.0.1") as somebody:
        at = Address(host=host, port=somebody.getsockname()[1])
        monkeypatch.setattr(socket, "socket", without)
        with pytest.raises(OSError, match="something listens at"):
            ports.check(at)

    ports.check(at)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
async def test_port_0_is_a_free_one_which_is_told(host: str) -> None:
    listening = Listening((parse(f"{host}:0"),))
    async with serving(listening), server.serving(listening, [], []) as running:
        (told,) = running.targets

        assert told.startswith(f"{host}:")
        assert not told.endswith(":0")
