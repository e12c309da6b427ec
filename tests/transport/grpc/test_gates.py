"""The watch of gates: everything in order to all, and words for those that were too slow."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import grpc
import pytest

from chaosplugin import client
from chaosplugin.client import Update, connect
from chaosplugin.core.gates import Gate
from chaosplugin.transport._pb import gates_pb2 as pb
from chaosplugin.transport.grpc import gates
from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from tests.core.test_feed import event
from tests.transport.grpc.bed import Authority, allowed, channel, local
from tests.transport.grpc.feeding import feeding

SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 1 << 16))
"""What a reader takes that does not read: not more than this, however quick the machine is."""


def at(folder: Path) -> Listening:
    return Listening((Address(path=str(folder / "s")),))


async def until(updates: AsyncIterator[Update], last: str) -> list[Update]:
    """Read until a gate is told of."""
    found = []
    with anyio.fail_after(20):
        async for update in updates:
            found.append(update)
            if any(event.gate.id == last for event in update.events):
                return found
    raise AssertionError


def ids(updates: list[Update]) -> list[str]:
    return [event.gate.id for update in updates for event in update.events]


async def test_a_watch_begins_with_how_things_are_and_goes_on_with_each_step(tmp_path: Path) -> None:
    async with feeding(at(tmp_path)) as (fed, _), connect(f"unix://{tmp_path}/s") as client:
        fed.step(1)
        updates = client.watch()
        first = await anext(updates)
        for number in range(2, 1500):
            fed.step(number)
        rest = await until(updates, "1499")

        assert (first.snapshot, ids([first])) == (True, ["1"])
        assert not any(update.snapshot for update in rest)
        assert ids(rest) == [str(number) for number in range(2, 1500)]


async def test_a_token_goes_on_where_the_last_watch_ended(tmp_path: Path) -> None:
    async with feeding(at(tmp_path)) as (fed, _), connect(f"unix://{tmp_path}/s") as client:
        token = (await anext(client.watch())).resume_token
        fed.step(1)
        fed.step(2)

        updates = await until(client.watch(resume_token=token), "2")
        assert ids(updates) == ["1", "2"]
        assert not any(update.snapshot for update in updates), "how things are is known"
        anew = await anext(client.watch(resume_token="other.1"))
        assert (anew.snapshot, anew.missed) == (True, 0)


async def test_a_reader_that_is_too_slow_is_told_what_it_missed_and_how_things_are(tmp_path: Path) -> None:
    async with feeding(at(tmp_path), size=10) as (fed, _), connect(f"unix://{tmp_path}/s") as client:
        token = (await anext(client.watch())).resume_token
        for number in range(1, 26):
            fed.step(number)

        (update,) = await until(client.watch(resume_token=token), "25")

        assert update.snapshot
        assert update.missed == 25
        assert len(update.events) == 25


async def test_a_reader_that_does_not_read_holds_nobody_up_and_is_told_later(tmp_path: Path) -> None:
    async with (
        feeding(at(tmp_path), size=2000) as (fed, _),
        connect(f"unix://{tmp_path}/s") as quick,
        grpc.aio.insecure_channel(f"unix:{tmp_path}/s", SMALL_WINDOW) as slow,
    ):
        call = slow.unary_stream(
            "/chaosplugin.v1.GateService/WatchGates",
            request_serializer=pb.WatchGatesRequest.SerializeToString,
            response_deserializer=pb.WatchGatesResponse.FromString,
        )(pb.WatchGatesRequest())
        await call.read()
        updates = quick.watch()
        await anext(updates)
        for start in range(0, 40_000, 1000):
            for number in range(start, start + 1000):
                fed.step(number % 500)
            fed.step(9_000_000 + start)
            await until(updates, str(9_000_000 + start))

        missed = told = 0
        with anyio.fail_after(20):
            while missed + told < fed.feed.place:
                response = await call.read()
                assert isinstance(response, pb.WatchGatesResponse)
                missed += response.missed
                told += len(response.events) if response.kind == pb.WatchGatesResponse.KIND_EVENTS else 0

        assert missed + told == fed.feed.place
        assert missed > 0


async def test_a_quiet_watch_shows_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "_HEARTBEAT_S", 0.05)
    async with (
        feeding(at(tmp_path)),
        channel(Target(Address(path=f"{tmp_path}/s"))) as made,
    ):
        call = await made.stream(
            "/chaosplugin.v1.GateService/WatchGates",
            pb.WatchGatesRequest(),
            pb.WatchGatesResponse.FromString,
        )
        kinds = []
        with anyio.fail_after(20):
            for _ in range(3):
                response = await call.read()
                assert isinstance(response, pb.WatchGatesResponse)
                kinds.append(response.kind)

        assert kinds == [
            pb.WatchGatesResponse.KIND_SNAPSHOT,
            pb.WatchGatesResponse.KIND_HEARTBEAT,
            pb.WatchGatesResponse.KIND_HEARTBEAT,
        ]


async def test_who_is_shown_nothing_of_what_happens_gets_signs_of_life_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watch of one gate that waits for its turn, where others are busy."""
    monkeypatch.setattr(gates, "_HEARTBEAT_S", 0.5)
    async with feeding(at(tmp_path)) as (fed, _), channel(Target(Address(path=f"{tmp_path}/s"))) as made:

        async def be_busy() -> None:
            for number in itertools.count(1):
                fed.step(number)
                await anyio.sleep(0.05)

        call = await made.stream(
            "/chaosplugin.v1.GateService/WatchGates",
            pb.WatchGatesRequest(id="none"),
            pb.WatchGatesResponse.FromString,
        )
        responses = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(be_busy)
            with anyio.fail_after(20):
                for _ in range(3):
                    response = await call.read()
                    assert isinstance(response, pb.WatchGatesResponse)
                    responses.append(response)
            tasks.cancel_scope.cancel()

        kinds = [pb.WatchGatesResponse.KIND_SNAPSHOT, *[pb.WatchGatesResponse.KIND_HEARTBEAT] * 2]
        assert [response.kind for response in responses] == kinds
        tokens = [response.resume_token for response in responses]
        assert len(set(tokens)) == 3, "they tell the place, too"


async def test_of_many_gates_how_things_are_is_told_in_messages_that_every_client_takes(
    tmp_path: Path,
) -> None:
    """4 MiB by default, as of grpcurl or a client in Go."""
    async with feeding(at(tmp_path)) as (fed, _), grpc.aio.insecure_channel(f"unix:{tmp_path}/s") as made:
        for number in range(5000):
            fed.step(number, message="x" * 1024)
        watch: grpc.aio.UnaryStreamMultiCallable[pb.WatchGatesRequest, pb.WatchGatesResponse]
        watch = made.unary_stream(
            "/chaosplugin.v1.GateService/WatchGates",
            request_serializer=pb.WatchGatesRequest.SerializeToString,
            response_deserializer=pb.WatchGatesResponse.FromString,
        )
        call, told = watch(pb.WatchGatesRequest()), list[str]()
        with anyio.fail_after(20):
            while len(told) < 5000:
                response = await call.read()
                assert isinstance(response, pb.WatchGatesResponse)
                snapshot = response.kind == pb.WatchGatesResponse.KIND_SNAPSHOT
                assert snapshot == (not told), "what follows is told beside it"
                told += [event.gate.id for event in response.events]

        assert sorted(told, key=int) == [str(number) for number in range(5000)]


async def test_a_caller_is_shown_the_namespaces_that_are_its_own(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    listening = allowed("bob=team-a", authority=authority, address=address)
    target = Target(address, **authority.client("bob"))
    async with feeding(listening) as (fed, _), connect(target) as client:
        fed.step(1, "team-b")
        updates = client.watch()
        first = await anext(updates)
        fed.step(2, "team-b")
        fed.step(3, "team-a")
        rest = await until(updates, "3")

        assert ids([first]) == []
        assert ids(rest) == ["3"]


async def test_one_gate_alone_can_be_watched(tmp_path: Path) -> None:
    async with feeding(at(tmp_path)) as (fed, _), connect(f"unix://{tmp_path}/s") as client:
        updates = client.watch("default", "7")
        await anext(updates)
        for number in range(1, 10):
            fed.step(number)

        assert ids(await until(updates, "7")) == ["7"]


async def test_a_watch_ends_with_its_server_and_is_gone_with_its_reader(tmp_path: Path) -> None:
    async with feeding(at(tmp_path)) as (fed, methods):
        async with connect(f"unix://{tmp_path}/s") as client:
            await anext(client.watch())
            assert methods._watchers == 1
        with anyio.fail_after(20):
            while methods._watchers:
                fed.step(1)
                await anyio.sleep(0.01)
        async with channel(Target(Address(path=f"{tmp_path}/s"))) as made:
            call = await made.stream(
                "/chaosplugin.v1.GateService/WatchGates",
                pb.WatchGatesRequest(),
                pb.WatchGatesResponse.FromString,
            )
            await call.read()
            methods.end()
            assert (await call.code()).name == "UNAVAILABLE"


async def test_a_watch_goes_on_when_certificates_are_renewed_and_another_call_takes_them_up(
    tmp_path: Path,
) -> None:
    authority, address = Authority(tmp_path / "pki"), local()
    target = Target(address, **authority.client("bob"))
    listening = allowed("bob", authority=authority, address=address)
    async with feeding(listening) as (fed, _), connect(target) as client:
        updates = client.watch()
        await anext(updates)
        renewed = Authority(tmp_path / "renewed")
        renewed.client("bob")
        authority.replace_by(renewed)
        fed.step(1)
        with anyio.fail_after(4):
            for _ in range(2):  # the first makes the new connection, the next looks for what may be closed
                assert (await client.get("default", "1")).id == "1"
        fed.step(2)

        assert ids(await until(updates, "2")) == ["1", "2"]


async def test_a_start_that_is_not_answered_in_time_is_repeated_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have begun, and nobody else would follow it."""
    monkeypatch.setattr(client, "_ANSWER_S", 0.5)
    names: list[str] = []

    async def start(namespace: str, rollout: str, name: str, asked: object) -> Gate:
        del namespace, rollout, asked
        names.append(name)
        if len(names) == 1:
            await anyio.sleep_forever()
        return event(1).gate

    async with feeding(at(tmp_path)) as (fed, _), connect(f"unix://{tmp_path}/s") as through:
        monkeypatch.setattr(fed, "start", start, raising=False)
        with anyio.fail_after(20):
            gate = await through.start("default", "web", {})

    assert gate.id == "1"
    assert len(names) == 2
    assert len(set(names)) == 1
