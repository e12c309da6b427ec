"""Addresses as they are written, and what a server refuses to be."""

from typing import Any

import pytest

from chaosplugin.transport.grpc.addresses import Address, BadAddress, Listening, Target, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/s", Address(path="/run/s")),
        ("127.0.0.1:80", Address(host="127.0.0.1", port=80)),
        ("[::1]:80", Address(host="::1", port=80)),
        ("host.ns.svc:8443", Address(host="host.ns.svc", port=8443)),
    ],
)
def test_an_address_is_a_socket_or_a_host_and_port(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    "text", ["", "host", ":80", "host:", "host:x", "host:65536", "::1:80", "unix://s", "unix:///" + "x" * 110]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse(text)


CERTIFICATE: dict[str, Any] = {"certificate": "c", "key": "k"}


@pytest.mark.parametrize(
    ("listening", "words"),
    [
        (Listening((parse("0.0.0.0:1"),)), "can be reached by others"),
        (Listening((parse("[::]:1"),), **CERTIFICATE), "can be reached by others"),
        (Listening((parse("127.0.0.1:1"),), certificate="c"), "go together"),
        (Listening((parse("127.0.0.1:1"),), **CERTIFICATE, client_ca="a"), "nobody may call"),
        (Listening((parse("127.0.0.1:1"),), allowed=("x",)), "who calls"),
        (Listening((parse("0.0.0.0:1"),), **CERTIFICATE, client_ca="a", allowed=("x=",)), "wants NAME"),
        (Listening((parse("0.0.0.0:1"),), insecure=True), ""),
        (Listening((parse("0.0.0.0:1"),), **CERTIFICATE, client_ca="a", allowed=("x",)), ""),
        (Listening((parse("unix:///s"), parse("127.0.0.1:1"))), ""),
    ],
)
def test_a_server_that_strangers_could_use_is_refused(listening: Listening, words: str) -> None:
    assert words in listening.refusal()
    assert bool(words) == bool(listening.refusal())


def test_a_token_never_goes_over_a_network_without_tls() -> None:
    assert "not sent" in Target(parse("host:1"), token_file="t", plain=True).refusal()
    assert not Target(parse("host:1"), token_file="t").refusal()
    assert not Target(parse("unix:///s"), token_file="t").refusal()


def test_nothing_is_reached_at_port_0_where_a_server_is_given_a_free_one() -> None:
    address = parse("127.0.0.1:0")

    assert not Listening((address,)).refusal()
    assert Target(address).refusal() == "127.0.0.1:0: no server is reached at port 0"
