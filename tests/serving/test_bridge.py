"""The controller's calls by way of a bridge: a server that is there, away, restarted, slow, or another."""

import json
import signal
from datetime import timedelta
from pathlib import Path

import anyio
import grpc
import pytest

from chaosplugin.core.analysis import Measurement, Metric, Phase
from chaosplugin.core.objects import AnalysisRun, Metadata
from chaosplugin.sandbox.api import resources
from chaosplugin.transport.grpc.addresses import Address, Target
from tests.provider.gate import NAMESPACE, clock, podchaos
from tests.serving.bed import bridge, config, served

NOBODY = AnalysisRun(metadata=Metadata(name="web-1", namespace="default", uid="1"))
WAKE = "chaosplugin.io/wake"
METRIC = Metric(name="chaos", plugin={"chaosplugin/chaos-mesh": b"{}"})


async def test_a_gate_by_way_of_a_bridge_survives(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, bridge(server.address) as by:
        bed.gate.deploy()

        answer = await bed.gate.judge(bed.gate.analysis_run(), config(), by=by)

        assert (answer.phase, answer.message.split(":")[0]) == (Phase.SUCCESSFUL, "Survived")
        assert json.loads(answer.value)["injected"] == 2
        await bed.gate.until(lambda: not bed.gate.experiments)


async def test_without_a_server_a_measurement_waits_and_is_no_error(tmp_path: Path) -> None:
    async with bridge(f"unix://{tmp_path}/nobody") as by:
        before = clock()
        begun = await by.run(NOBODY, METRIC)
        resumed = await by.resume(NOBODY, METRIC, begun)
        after = clock()

        for answer in (begun, resumed):
            assert answer.phase is Phase.RUNNING
            assert answer.resume_at is not None
            assert before + timedelta(seconds=14) < answer.resume_at < after + timedelta(seconds=16)
            assert "does not answer" in answer.message
        assert resumed.started_at == begun.started_at


async def test_terminate_ends_in_one_call_though_the_server_is_away(tmp_path: Path) -> None:
    async with bridge(f"unix://{tmp_path}/nobody") as by:
        answer = await by.terminate(NOBODY, METRIC, Measurement(phase=Phase.RUNNING, metadata={"a": "b"}))

        assert answer.phase is Phase.INCONCLUSIVE
        assert answer.message.startswith("Terminated: ")
        assert answer.finished_at is not None
        assert answer.metadata == {"a": "b"}


async def test_a_measurement_begun_without_a_server_is_taken_up_by_it_later(tmp_path: Path) -> None:
    async with served(tmp_path) as bed:
        bed.gate.deploy()
        run = bed.gate.analysis_run()
        metric = bed.gate.metric(config())
        async with bridge(f"unix://{tmp_path}/a.sock") as by:
            begun = await by.run(run, metric)
            async with bed.server():
                answer = begun
                with anyio.fail_after(60):
                    while not answer.phase.completed:
                        answer = await by.resume(run, metric, answer)
                        await anyio.sleep(0.1)

        assert answer.phase is Phase.SUCCESSFUL, answer.message


async def test_a_server_that_hangs_is_one_that_is_away(tmp_path: Path) -> None:
    async with served(tmp_path) as bed, bed.server() as server, bridge(server.address) as by:
        assert (await by.resume(NOBODY, METRIC, Measurement(phase=Phase.RUNNING))).phase.completed

        server.signal(signal.SIGSTOP)
        with anyio.fail_after(10):
            answer = await by.run(NOBODY, METRIC)
        server.signal(signal.SIGCONT)

        assert answer.phase is Phase.RUNNING
        assert "DEADLINE_EXCEEDED" in answer.message


async def test_a_server_of_another_version_is_one_that_is_away(tmp_path: Path) -> None:
    other = grpc.aio.server()
    other.add_insecure_port(f"unix:{tmp_path}/s")
    await other.start()
    async with bridge(f"unix://{tmp_path}/s") as by:
        answer = await by.run(NOBODY, METRIC)
    await other.stop(0)

    assert answer.phase is Phase.RUNNING
    assert "UNIMPLEMENTED" in answer.message


@pytest.mark.parametrize(
    ("text", "words"), [(None, ": No such file"), ("-----BEGIN CERT", " holds no certificate in PEM")]
)
async def test_certificates_that_are_not_there_yet_are_waited_for_like_a_server(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "ca.crt"
    if text is not None:
        file.write_text(text)
    async with bridge(Target(Address(host="127.0.0.1", port=9), ca=str(file))) as by:
        answer = await by.run(NOBODY, METRIC)

    assert answer.phase is Phase.RUNNING
    assert f"{file}{words}" in answer.message


@pytest.mark.parametrize("half", [b"", b"good\nhalf", b"g\xff"])
async def test_a_token_that_is_half_written_is_waited_for_like_a_server(tmp_path: Path, half: bytes) -> None:
    token = tmp_path / "token"
    token.write_bytes(half)
    async with bridge(Target(Address(host="127.0.0.1", port=9), token_file=str(token))) as by:
        answer = await by.run(NOBODY, METRIC)

    assert answer.phase is Phase.RUNNING
    assert f"{token}: it holds no token" in answer.message


async def test_what_the_bridge_itself_can_refuse_is_an_error(tmp_path: Path) -> None:
    async with bridge(f"unix://{tmp_path}/nobody") as by:
        unnamed = await by.run(None, METRIC)
        huge = await by.run(NOBODY, Metric(name="chaos", plugin={"a/b": b'"' + b"x" * (33 << 20) + b'"'}))

    assert (unnamed.phase, huge.phase) == (Phase.ERROR, Phase.ERROR)
    assert "33554432" in huge.message


def stored(answer: Measurement) -> dict[str, object]:
    """The status that Argo writes with a measurement."""
    measurement = {"phase": answer.phase.value, "metadata": dict(answer.metadata)}
    result = {"name": "chaos", "phase": "Running", "measurements": [measurement]}
    return {"phase": "Running", "metricResults": [result]}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_runs_when_a_server_ends_is_judged_by_the_next(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with served(tmp_path) as bed, bed.server() as server, bridge(server.address) as by:
        bed.gate.deploy()
        run, metric = bed.gate.analysis_run(), bed.gate.metric(config(podchaos(duration="2s")))
        answer = await by.run(run, metric)
        answer = await by.resume(run, metric, answer)
        await bed.gate.until(lambda: bed.gate.experiments)

        bed.gate.cluster.api.merge(
            resources.ANALYSIS_RUNS, NAMESPACE, run.metadata.name, {"status": stored(answer)}, "status"
        )
        status = await server.kill(number)
        assert bed.gate.experiments
        before = bed.gate.annotations().get(WAKE)
        await server.start()
        await bed.gate.until(lambda: bed.gate.annotations().get(WAKE) != before)  # so Argo asks
        with anyio.fail_after(60):
            while not answer.phase.completed:
                answer = await by.resume(run, metric, answer)
                await anyio.sleep(0.05)

        assert status == (0 if number == signal.SIGTERM else -number)
        assert answer.phase is Phase.SUCCESSFUL, answer.message
        assert bed.created == 1
