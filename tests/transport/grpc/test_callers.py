"""Who is let in, and where to: names in certificates, sockets."""

from pathlib import Path

import grpc
import pytest

from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from tests.transport.grpc.bed import Authority, allowed, channel, local, run, serving


async def code(target: Target, namespace: str = "default") -> grpc.StatusCode:
    async with channel(target) as made:
        try:
            await run(made, namespace)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_a_name_in_a_certificate_opens_the_namespaces_that_are_listed(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    bob, eve = authority.client("bob"), authority.client("eve")
    async with serving(allowed("bob=team-a,team-b", authority=authority, address=address)) as provider:
        assert await code(Target(address, **bob), "team-a") is grpc.StatusCode.OK
        assert await code(Target(address, **bob), "team-c") is grpc.StatusCode.PERMISSION_DENIED
        assert await code(Target(address, **eve), "team-a") is grpc.StatusCode.PERMISSION_DENIED

    assert len(provider.calls) == 1


async def test_without_a_certificate_of_the_ca_nobody_gets_in(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    stranger = Authority(tmp_path / "other").client("bob")
    async with serving(allowed("bob", authority=authority, address=address)) as provider:
        bare = Target(address, ca=authority.ca)
        strange = Target(address, ca=authority.ca, certificate=stranger["certificate"], key=stranger["key"])

        assert await code(bare) is grpc.StatusCode.UNAVAILABLE
        assert await code(strange) is grpc.StatusCode.UNAVAILABLE
        assert provider.calls == []


async def test_a_client_believes_only_a_server_of_its_ca(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    other = Authority(tmp_path / "other")
    async with serving(allowed("bob", authority=authority, address=address)):
        target = Target(address, **{**authority.client("bob"), "ca": other.ca})

        assert await code(target) is grpc.StatusCode.UNAVAILABLE


async def test_renewed_certificates_are_taken_up_on_both_sides(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    bob = authority.client("bob")
    async with serving(allowed("bob", authority=authority, address=address)):
        async with channel(Target(address, **bob)) as made:
            await run(made)
            renewed = Authority(tmp_path / "renewed")
            renewed.client("bob")
            authority.replace_by(renewed)

            await run(made)

        old = Authority(tmp_path / "old")
        assert await code(Target(address, **old.client("bob"))) is grpc.StatusCode.UNAVAILABLE


async def test_a_half_written_certificate_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    bob = authority.client("bob")
    async with serving(allowed("bob", authority=authority, address=address)):
        (tmp_path / "pki" / "tls.key").write_text("half")

        assert await code(Target(address, **bob)) is grpc.StatusCode.OK


async def test_a_socket_is_for_its_user_alone_and_needs_no_name(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    async with serving(Listening((Address(path=str(socket)),))) as provider:
        assert socket.stat().st_mode & 0o777 == 0o600
        assert await code(Target(Address(path=str(socket)))) is grpc.StatusCode.OK

    assert len(provider.calls) == 1
    assert not socket.exists()


async def test_a_socket_of_a_dead_server_is_replaced_and_one_of_a_living_is_not(tmp_path: Path) -> None:
    listening = Listening((Address(path=str(tmp_path / "s")),))
    async with serving(listening):
        with pytest.raises(Exception, match="another process listens there"):
            async with serving(listening):
                pass
        assert await code(Target(listening.addresses[0])) is grpc.StatusCode.OK, "still there"

    (tmp_path / "s").write_text("precious")
    with pytest.raises(Exception, match="no socket"):
        async with serving(listening):
            pass
    assert (tmp_path / "s").read_text() == "precious"
