"""Back-off, rate limit, clock offset, lines: small rules, with plain numbers."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.kube.backoff import Backoff
from chaosplugin.kube.clock import ClockOffset
from chaosplugin.kube.limiter import IN_FLIGHT, SPARED, Limiter, NoTurn, Priority
from chaosplugin.kube.lines import Garbled, Lines
from chaosplugin.kube.reflector import Pace


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_delays_double_up_to_a_limit_and_begin_anew_after_a_calm() -> None:
    time = Time()
    backoff = Backoff(first=0.8, last=30, calm=120, monotonic=time)

    delays = []
    for _ in range(10):
        delays.append(backoff.delay())
        time.now += delays[-1]

    for n, delay in enumerate(delays):
        assert min(30, 0.8 * 2**n) <= delay <= min(30, 1.6 * 2**n)
    time.now += 121
    assert backoff.delay() <= 1.6
    several = {backoff.delay(at_least=45) for _ in range(9)}
    assert len(several) > 1
    assert 45 <= min(several) <= max(several) <= 54


def test_a_watch_that_failed_again_and_again_is_tried_again_within_ten_seconds() -> None:
    """A gate whose canary was back waited half a minute for its verdict after an outage of seconds."""
    pace = Pace()
    backoff = Backoff(first=pace.first_delay_s, last=pace.last_delay_s, calm=pace.calm_s)

    assert max(backoff.delay() for _ in range(20)) <= 10


async def test_requests_beyond_the_burst_wait_for_their_rate() -> None:
    limiter = Limiter(rate=100, burst=5)
    began = anyio.current_time()
    for _ in range(15):
        await limiter.acquire(Priority.READ)

    assert 0.09 <= anyio.current_time() - began < 60


async def test_clean_up_overtakes_all_and_creates_come_last() -> None:
    limiter = Limiter(rate=200, burst=1)
    await limiter.acquire(Priority.READ)
    order: list[Priority] = []

    async def ask(priority: Priority) -> None:
        await limiter.acquire(priority)
        order.append(priority)

    async with anyio.create_task_group() as group:
        for priority in (Priority.CREATE, Priority.READ, Priority.VERDICT, Priority.CLEAN_UP, Priority.READ):
            group.start_soon(ask, priority)

    assert order == sorted(order)


async def test_who_stops_waiting_takes_nobodys_turn() -> None:
    limiter = Limiter(rate=0.5, burst=1)
    await limiter.acquire(Priority.READ)
    with anyio.move_on_after(0.01):
        await limiter.acquire(Priority.CLEAN_UP)
    began = anyio.current_time()

    await limiter.acquire(Priority.READ)

    assert anyio.current_time() - began < 3.5, "a turn comes every 2 s"


async def test_no_more_requests_go_than_are_answered_and_clean_up_finds_room() -> None:
    """Thousands at once would time out together, and be sent again, for ever."""
    limiter = Limiter(rate=1e6, burst=10_000)
    answer, gone = anyio.Event(), dict.fromkeys(Priority, 0)

    async def ask(priority: Priority) -> None:
        async with limiter.turn(priority):
            gone[priority] += 1
            await answer.wait()

    async with anyio.create_task_group() as group:
        for _ in range(3 * IN_FLIGHT):
            group.start_soon(ask, Priority.CREATE)
        await anyio.wait_all_tasks_blocked()
        assert gone[Priority.CREATE] == IN_FLIGHT - SPARED
        for _ in range(IN_FLIGHT):
            group.start_soon(ask, Priority.CLEAN_UP)
        await anyio.wait_all_tasks_blocked()
        assert gone[Priority.CLEAN_UP] == SPARED
        answer.set()

    assert gone[Priority.CREATE] == 3 * IN_FLIGHT
    assert gone[Priority.CLEAN_UP] == IN_FLIGHT


async def test_who_has_not_had_its_turn_in_time_takes_nobodys() -> None:
    limiter = Limiter(rate=2, burst=1)
    await limiter.acquire(Priority.READ)
    with pytest.raises(NoTurn):
        async with limiter.turn(Priority.CREATE, 0.01):
            pass

    began = anyio.current_time()
    await limiter.acquire(Priority.READ)

    assert anyio.current_time() - began < 5
    assert limiter.idle


async def test_who_is_cancelled_as_its_turn_comes_gives_it_back() -> None:
    limiter = Limiter(rate=1e6, burst=10_000)

    async def ask(scope: anyio.CancelScope | None = None) -> None:
        with scope or anyio.CancelScope():
            async with limiter.turn(Priority.CLEAN_UP):
                await anyio.lowlevel.checkpoint()
                if scope is None:
                    for each in scopes:
                        each.cancel()

    scopes = [anyio.CancelScope() for _ in range(3 * IN_FLIGHT)]
    async with anyio.create_task_group() as group:
        for _ in range(IN_FLIGHT):
            group.start_soon(ask)
        for each in scopes:
            group.start_soon(ask, each)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for _ in range(3 * IN_FLIGHT):
                group.start_soon(ask)


def test_the_clock_offset_forgets_after_two_windows() -> None:
    time = Time()
    offset = ClockOffset(monotonic=time)
    local = datetime(2026, 1, 1, tzinfo=UTC)

    def observe(seconds: int) -> None:
        offset.observe(f"Thu, 01 Jan 2026 00:00:{seconds:02} GMT", local)

    observe(30)
    assert offset.value == timedelta(seconds=30)
    time.now = 301
    observe(20)
    assert offset.value == timedelta(seconds=30)
    time.now = 602
    observe(10)
    assert offset.value == timedelta(seconds=20)


def pieces_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        yield data[begin:end]


@given(st.lists(st.binary().map(lambda b: b.replace(b"\n", b""))), st.binary(), st.lists(st.integers(0, 999)))
def test_lines_are_the_same_however_they_arrive(lines: list[bytes], rest: bytes, cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines) + rest.replace(b"\n", b"")

    cutter = Lines()
    whole = [cutter.feed(piece) for piece in pieces_of(data, cuts)]
    assert b"".join(whole) == b"".join(line + b"\n" for line in lines)
    assert all(each == b"" or each.endswith(b"\n") for each in whole)


def test_a_line_may_be_as_long_as_the_limit_and_no_longer() -> None:
    cutter = Lines(100)
    assert cutter.feed(b"x" * 30) == b""
    assert cutter.feed(b"x" * 70 + b"\ny") == b"x" * 100 + b"\n"

    with pytest.raises(Garbled, match="100 bytes"):
        Lines(100).feed(b"x" * 101)
