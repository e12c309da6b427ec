"""Calls over a stream that is kept: each is as it would be alone, and the server is not held."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import grpc
import pytest

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun
from chaosplugin.transport._pb import metric_provider_pb2 as pb
from chaosplugin.transport.bridge import BridgeProvider
from chaosplugin.transport.documents import (
    read_measurement,
    write_analysis_run,
    write_measurement,
    write_metric,
)
from chaosplugin.transport.grpc import dispatch, kept, metrics, server
from chaosplugin.transport.grpc.addresses import Address, Listening, Target
from chaosplugin.transport.grpc.callers import Caller, Context
from chaosplugin.transport.grpc.channel import Channel
from chaosplugin.transport.grpc.status import Rejected
from tests.provider.gate import clock
from tests.transport.grpc.bed import METRIC, analysis_run, channel
from tests.transport.test_rollouts import Remembering

RESUME_EACH = "/chaosplugin.v1.MetricProviderService/ResumeEach"


class Slow(Remembering):
    """Holds up a measurement that says so until it is let go, or nobody asks any more."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go, self.left = anyio.Event(), anyio.Event(), anyio.Event()

    async def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        if measurement.message == "slow":
            self.asked.set()
            try:
                await self.go.wait()
            except BaseException:
                self.left.set()
                raise
        return await super().resume(run, metric, measurement)


@dataclass
class Door:
    """Lets everybody in until it is shut."""

    shut: bool = False
    shown: list[str] = field(default_factory=list)

    async def identify(self, context: Context) -> Caller:
        self.shown += [str(value) for key, value in context.invocation_metadata() or () if key[:4] == "auth"]
        if self.shut:
            raise Rejected(grpc.StatusCode.PERMISSION_DENIED, "shut")
        return Caller("somebody")


@dataclass
class Bed:
    provider: Slow
    door: Door
    streams: dispatch.Kept
    running: server.Server


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Bed]:
    provider, door, streams = Slow(), Door(), dispatch.Kept()
    methods = metrics.MetricMethods(provider, lambda: None).by_name
    bound = dispatch.handlers(metrics.SERVICE, door, methods, kept=streams)
    async with server.serving(at(folder), [bound], [metrics.SERVICE.full_name]) as running:
        yield Bed(provider, door, streams, running)


def at(folder: Path) -> Listening:
    return Listening((Address(path=str(folder / "s")),))


def target(folder: Path, token_file: Path | None = None) -> Target:
    shown = str(token_file) if token_file else None
    return Target(Address(path=str(folder / "s")), token_file=shown)


async def resume(made: Channel, message: str, within_s: float = 20, metric: bytes = b"") -> str | None:
    request = pb.ResumeEachRequest(
        analysis_run=write_analysis_run(analysis_run()),
        metric=metric or write_metric(METRIC),
        measurement=write_measurement(Measurement(phase=Phase.RUNNING, message=message)),
    )
    answer = await made.kept(RESUME_EACH, request, pb.ResumeEachResponse.FromString, within_s=within_s)
    return None if answer is None else read_measurement(answer.measurement).message


async def idle(made: Channel) -> list[grpc.aio.StreamStreamCall[pb.ResumeEachRequest, bytes]]:
    """The streams that wait for a call."""
    return (await made._current()).streams[RESUME_EACH]._idle


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.02)


async def test_one_call_after_the_other_is_answered_over_one_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as bed, channel(target(tmp_path)) as made:
        assert await resume(made, "0") == "0"
        first = list(await idle(made))
        for number in range(1, 20):
            assert await resume(made, str(number)) == str(number)

        assert await idle(made) == first
        assert len(bed.provider.calls) == 20


async def test_calls_at_the_same_time_get_each_its_own_answer_and_none_waits_for_a_slow_one(
    tmp_path: Path,
) -> None:
    answers: dict[str, str | None] = {}

    async def ask(message: str) -> None:
        answers[message] = await resume(made, message)

    async with (
        serving(tmp_path) as bed,
        channel(target(tmp_path)) as made,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ask, "slow")
        for number in range(100):
            tasks.start_soon(ask, str(number))
        await until(lambda: len(answers) == 100)
        bed.provider.go.set()
        await until(lambda: len(answers) == 101)

        assert all(message == answer for message, answer in answers.items())
        assert len(await idle(made)) <= kept._MOST


async def test_a_call_that_is_refused_ends_its_stream_and_the_next_one_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path), channel(target(tmp_path)) as made:
        assert await resume(made, "a") == "a"
        assert await resume(made, "b", metric=b"{") is None

        assert await resume(made, "c") == "c"


async def test_a_call_ends_by_its_deadline_and_the_server_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as bed, channel(target(tmp_path)) as made:
        assert await resume(made, "a") == "a"
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await resume(made, "slow", within_s=0.3)

        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        with anyio.fail_after(20):
            await bed.provider.left.wait()
        assert await resume(made, "b") == "b"


async def test_a_call_that_nobody_waits_for_any_more_ends_at_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path) as bed, channel(target(tmp_path)) as made:
        assert await resume(made, "a") == "a"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resume, made, "slow")
            await bed.provider.asked.wait()
            tasks.cancel_scope.cancel()

        with anyio.fail_after(20):
            await bed.provider.left.wait()
        assert await resume(made, "b") == "b"


async def test_a_stream_that_brings_nothing_is_ended_and_another_one_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_IDLE_S", 0.3)
    async with serving(tmp_path), channel(target(tmp_path)) as made:
        assert await resume(made, "a") == "a"
        (stream,) = await idle(made)
        await until(stream.done)

        assert await stream.code() is grpc.StatusCode.OK
        assert await resume(made, "b") == "b"


async def test_a_server_that_ends_does_not_wait_for_streams_that_bring_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as bed, channel(target(tmp_path)) as made:
        assert await resume(made, "a") == "a"
        (stream,) = await idle(made)
        began = time.monotonic()
        bed.streams.end()
        await bed.running.stop(30)

        assert time.monotonic() - began < 15
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_call_that_is_under_way_when_the_server_ends_is_answered(tmp_path: Path) -> None:
    answers: list[str | None] = []

    async def ask() -> None:
        answers.append(await resume(made, "slow"))

    async with (
        serving(tmp_path) as bed,
        channel(target(tmp_path)) as made,
        anyio.create_task_group() as tasks,
    ):
        assert await resume(made, "a") == "a"
        tasks.start_soon(ask)
        await bed.provider.asked.wait()
        bed.streams.end()
        tasks.start_soon(bed.running.stop, 30)
        bed.provider.go.set()

    assert answers == ["slow"]


async def test_who_is_not_let_in_any_more_is_turned_away_in_mid_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as bed, channel(target(tmp_path)) as made:
        assert await resume(made, "a") == "a"
        (stream,) = await idle(made)
        bed.door.shut = True

        assert await resume(made, "b") is None
        assert await stream.code() is grpc.StatusCode.PERMISSION_DENIED
        assert len(bed.provider.calls) == 1


async def test_a_token_that_is_replaced_is_shown_with_the_next_call(tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with serving(tmp_path) as bed, channel(target(tmp_path, token)) as made:
        token.write_text("old")
        assert await resume(made, "a") == "a"
        token.write_text("new")
        assert await resume(made, "b") == "b"

        assert bed.door.shown[0] == "Bearer old"
        assert bed.door.shown[-1] == "Bearer new"
        assert len(await idle(made)) == 1


async def test_a_server_that_does_not_know_the_method_is_not_asked_by_it_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Other(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
            asked.append(handler_call_details.method)

    other = grpc.aio.server()
    other.add_generic_rpc_handlers((Other(),))
    other.add_insecure_port(f"unix:{tmp_path}/s")
    await other.start()
    async with channel(target(tmp_path)) as made:
        for _ in range(5):
            assert await resume(made, "a") is None
        assert asked == [RESUME_EACH]

        monkeypatch.setattr((await made._current()).streams[RESUME_EACH], "_none_until", 0.0)
        assert await resume(made, "a") is None
        assert len(asked) == 2
    await other.stop(0)


class Older(grpc.GenericRpcHandler):
    """The services of a server that does not know the method yet."""

    def __init__(self, provider: Remembering) -> None:
        methods = metrics.MetricMethods(provider, lambda: None).by_name
        self._known = dispatch.handlers(metrics.SERVICE, Door(), methods)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return (
            None if handler_call_details.method == RESUME_EACH else self._known.service(handler_call_details)
        )


async def test_a_bridge_asks_an_older_server_call_by_call(tmp_path: Path) -> None:
    provider = Remembering()
    older = grpc.aio.server()
    older.add_generic_rpc_handlers((Older(provider),))
    older.add_insecure_port(f"unix:{tmp_path}/s")
    await older.start()
    async with channel(target(tmp_path)) as made:
        by = BridgeProvider(made, clock)
        for value in ("a", "b"):
            given = Measurement(phase=Phase.RUNNING, value=value)
            assert await by.resume(analysis_run(), METRIC, given) == given
    await older.stop(0)

    assert len(provider.calls) == 2


async def test_a_bridge_does_not_tell_argo_of_a_stream_that_broke(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = Measurement(phase=Phase.RUNNING, value="a")
    async with channel(target(tmp_path)) as made:
        by = BridgeProvider(made, clock)
        async with serving(tmp_path):
            for _ in range(3):
                assert await by.resume(analysis_run(), METRIC, given) == given
                (stream,) = await idle(made)
                stream.cancel()
        async with serving(tmp_path):  # in the place of the first one
            with anyio.fail_after(20):
                while await by.resume(analysis_run(), METRIC, given) != given:
                    await anyio.sleep(0.02)

    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == []


async def test_streams_without_end_take_no_place_of_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_MOST_KEPT", 3)
    async with serving(tmp_path):
        made = [Channel(target(tmp_path)) for _ in range(5)]
        answers = [await resume(each, "a") for each in made]
        for each in made:
            await each.close()

    assert answers == ["a", "a", "a", None, None]
