"""Whose token it is: reviewed once for all, and strangers pay for theirs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import grpc
import pytest

from chaosplugin.transport.grpc.addresses import Listening, Target
from chaosplugin.transport.grpc.callers import parse_allowed
from chaosplugin.transport.grpc.status import Rejected
from chaosplugin.transport.grpc.tokens import Tokens, reviewer_away
from tests.transport.grpc.bed import Authority, local, serving
from tests.transport.grpc.test_callers import code

MINUTE = 61.0


def shown(token: str, peer: str = "ipv4:10.0.0.1:40000") -> Any:
    """A call that shows a token."""
    metadata = [("authorization", f"Bearer {token}")]
    return SimpleNamespace(invocation_metadata=lambda: metadata, peer=lambda: peer)


class Reviews:
    """An API server that knows tokens which begin with the name of their user."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        self.answer = anyio.Event()
        self.answer.set()
        self.tokens = Tokens({"ci": None}, self.review, lambda: self.now)

    async def review(self, token: str) -> str:
        self.asked.append(token)
        await self.answer.wait()
        name = token.partition("-")[0]
        return name if name in {"ci", "eve"} else ""

    async def code(self, token: str, peer: str = "ipv4:10.0.0.1:40000") -> str:
        try:
            await self.tokens.identify(shown(token, peer))
        except Rejected as rejected:
            return rejected.code.name
        return "OK"


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
    context: Any = shown("good")

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


@pytest.mark.parametrize("word", ["junk", "eve"])
async def test_a_peer_may_show_only_so_many_tokens_that_are_worth_nothing(word: str) -> None:
    reviews = Reviews()
    codes = [await reviews.code(f"{word}-{number}", f"ipv4:10.0.0.1:{number}") for number in range(1000)]
    last = len(reviews.asked)
    reviews.now += 5

    assert last == 20
    assert codes[20:] == ["UNAVAILABLE"] * 980
    assert await reviews.code("ci-1", "ipv4:10.0.0.2:1") == "OK"  # from elsewhere
    for number in range(1000, 1100):
        await reviews.code(f"{word}-{number}")
    assert len(reviews.asked) - last - 1 == 5  # one a second


async def test_whose_token_was_good_lately_does_not_pay_for_strangers_at_the_same_address() -> None:
    reviews = Reviews()
    assert await reviews.code("ci-1") == "OK"
    for number in range(3000):
        await reviews.code(f"junk-{number}", f"ipv4:10.0.{number % 100}.1:1")

    assert await reviews.code("ci-1") == "OK"
    assert reviews.asked.count("ci-1") == 1, "it was pushed out by strangers"
    reviews.now += MINUTE
    for number in range(100):
        await reviews.code(f"again-{number}")
    assert await reviews.code("ci-1") == "OK"
    assert reviews.asked.count("ci-1") == 2


async def test_good_tokens_cost_nothing_however_many_there_are() -> None:
    reviews = Reviews()

    assert {await reviews.code(f"ci-{number}") for number in range(100)} == {"OK"}


async def test_a_token_that_is_worth_nothing_is_reviewed_once_a_minute() -> None:
    reviews = Reviews()
    for _ in range(3):
        for _ in range(100):
            assert await reviews.code("junk") == "UNAUTHENTICATED"
        reviews.now += MINUTE

    assert reviews.asked == ["junk"] * 3


async def test_who_leaves_before_the_answer_has_paid_for_it() -> None:
    reviews = Reviews()
    reviews.answer = anyio.Event()
    for number in range(100):
        with anyio.move_on_after(0):
            await reviews.code(f"junk-{number}")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reviews.code, f"junk-{number}")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    assert len(reviews.asked) == 20


async def test_while_reviews_are_not_answered_only_so_many_calls_wait_for_them() -> None:
    reviews, ends = Reviews(), list[str]()
    await reviews.code("ci-1")
    reviews.answer = anyio.Event()

    async def call(token: str, peer: str) -> None:
        ends.append(await reviews.code(token, peer))

    async with anyio.create_task_group() as tasks:
        for number in range(1000):
            tasks.start_soon(call, f"junk-{number % 7}", f"ipv4:10.0.0.{number % 50}:1")
        await anyio.wait_all_tasks_blocked()
        waiting = 1000 - len(ends)
        reviews.now += MINUTE  # and what was good has to be reviewed again
        tasks.start_soon(call, "ci-1", "ipv4:10.0.0.1:1")
        await anyio.wait_all_tasks_blocked()
        reviews.answer.set()

    assert waiting == 256
    assert ends.count("OK") == 1
