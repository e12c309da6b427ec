"""Who is let in, and where to: names in certificates, reviewed tokens, sockets."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import grpc
import pytest

from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from chaosplugin.transport.grpc.callers import Tokens, parse_allowed, reviewer_away
from chaosplugin.transport.grpc.status import Rejected
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


async def test_tokens_are_reviewed_once_a_minute_and_their_users_are_listed(tmp_path: Path) -> None:
    address, authority, reviews = local(), Authority(tmp_path / "pki"), list[str]()

    async def review(token: str) -> str:
        reviews.append(token)
        return {"good": "ci", "other": "eve"}.get(token, "")

    tokens = Tokens(parse_allowed(["ci=default"]), review)
    listening = Listening((address,), **authority.server, review_tokens=True, allowed=("ci=default",))
    async with serving(listening, tokens) as provider:
        for token, expected in (
            ("good", grpc.StatusCode.OK),
            ("good", grpc.StatusCode.OK),
            ("other", grpc.StatusCode.PERMISSION_DENIED),
            ("bad", grpc.StatusCode.UNAUTHENTICATED),
        ):
            file = tmp_path / "token"
            file.write_text(f"{token}\n")

            assert await code(Target(address, ca=authority.ca, token_file=str(file))) is expected
        assert await code(Target(address, ca=authority.ca)) is grpc.StatusCode.UNAUTHENTICATED

    assert reviews == ["good", "other", "bad"]
    assert len(provider.calls) == 2


@pytest.mark.parametrize("away", [False, True])
async def test_calls_with_one_token_wait_for_one_review_and_share_its_end(*, away: bool) -> None:
    """As when it has just been forgotten: many calls of a bridge are under way at any time."""
    reviews, ends, answer = list[str](), list[str](), anyio.Event()

    async def review(token: str) -> str:
        reviews.append(token)
        await answer.wait()
        if away:
            raise reviewer_away("it restarts")
        return "ci"

    tokens = Tokens(parse_allowed(["ci"]), review)
    context: Any = SimpleNamespace(invocation_metadata=lambda: [("authorization", "Bearer good")])

    async def call() -> None:
        try:
            ends.append((await tokens.identify(context)).name)
        except Rejected as rejected:
            ends.append(rejected.code.name)

    first = anyio.CancelScope()

    async def call_cancelled() -> None:
        with first:
            await call()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call_cancelled)
        for _ in range(10):
            tasks.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        answer.set()

    assert reviews == ["good", "good"], "that of the call which was cancelled is no answer"
    assert ends == ["UNAVAILABLE" if away else "ci"] * 10


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
