"""Argo's own requests, through the dispatcher, to a provider that remembers what it was asked."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone

import anyio
import pytest

from chaosplugin.core.analysis import Measurement, Metric, MetricProvider, Phase
from chaosplugin.core.objects import AnalysisRun, OwnerReference
from chaosplugin.transport.netrpc import Room, Service, serve
from chaosplugin.transport.rollouts import metric_service
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.gotypes import Interface, Struct
from chaosplugin.wire.gob.shapes import ANY, Named, Opaque
from chaosplugin.wire.gob.times import encode_time
from chaosplugin.wire.netrpc import NEED_DATA, Client, Reply
from tests.transport.pairs import joined, pair
from tests.wire.vectors import streams

LOG = logging.getLogger("test")
BASE = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)  # of the fixtures
PLUGIN_CONFIG_START = b'{"experiment":{"apiVersion":"chaos-mesh.org/v1alpha1"'


@dataclass
class Remembering:
    """A provider that answers what it was given and remembers its calls."""

    answer: Measurement = field(default_factory=lambda: Measurement(phase=Phase.RUNNING))
    calls: list[list[object]] = field(default_factory=list)

    async def init(self) -> str:
        self.calls.append(["init"])
        return "not ready"

    async def run(self, run: AnalysisRun | None, metric: Metric) -> Measurement:
        self.calls.append(["run", run, metric])
        return self.answer

    async def resume(self, run: AnalysisRun | None, metric: Metric, measurement: Measurement) -> Measurement:
        self.calls.append(["resume", run, metric, measurement])
        return measurement

    async def terminate(
        self, run: AnalysisRun | None, metric: Metric, measurement: Measurement
    ) -> Measurement:
        self.calls.append(["terminate", run, metric, measurement])
        return measurement

    async def garbage_collect(self, run: AnalysisRun | None, metric: Metric, limit: int) -> str:
        self.calls.append(["garbage_collect", run, metric, limit])
        return ""

    def type(self) -> str:
        return "ChaosMesh"

    async def get_metadata(self, metric: Metric) -> Mapping[str, str]:
        self.calls.append(["get_metadata", metric])
        return {"name": metric.name}


async def talk(service: Service, *requests: bytes, client: Client, answers: int) -> list[Reply]:
    got: list[Reply] = []
    async with pair() as ends, anyio.create_task_group() as tasks:
        ours, theirs = await joined(*ends)
        tasks.start_soon(lambda: serve(theirs, service, Room(1 << 20), log=LOG))
        for request in requests:
            await ours.send(request)
        while len(got) < answers:
            while (event := client.next_event()) is NEED_DATA:
                client.receive_data(await ours.receive())
            got.append(event)
        await ours.aclose()
    return sorted(got, key=lambda reply: reply.seq)


async def replay(provider: MetricProvider, session: str) -> list[Reply]:
    """Answer a recorded session; the client has made the calls only to know their numbers."""
    vectors = streams("metric")[f"{session} host->plugin"]
    client = Client()
    headers = [header for vector in vectors for header in vector.decoded[::2]]
    for header in headers:
        client.call(header["ServiceMethod"], gotypes.EMPTY, {})
    data = (vector.data for vector in vectors)
    return await talk(metric_service(provider), *data, client=client, answers=len(headers))


async def test_a_controllers_life_with_a_plugin_is_understood() -> None:
    provider = Remembering()

    replies = await replay(provider, "lifecycle")

    assert [call[0] for call in sorted(provider.calls, key=lambda call: str(call[0]))] == [
        *["garbage_collect"] * 3,
        "get_metadata",
        *["init"] * 2,
        *["resume"] * 3,
        *["run"] * 2,
        "terminate",
    ]
    assert not any(reply.error for reply in replies)
    assert [replies[number].value for number in (0, 1, 10)] == [
        {"ErrorString": "not ready"},
        {"name": "chaos"},
        "ChaosMesh",
    ]
    assert {call[3] for call in provider.calls if call[0] == "garbage_collect"} == {-1, 0, 10}


async def test_the_measurement_comes_back_as_it_went_out() -> None:
    provider = Remembering()

    await replay(provider, "first/Resume-small")

    [[name, run, metric, measurement]] = provider.calls
    assert name == "resume"
    assert isinstance(run, AnalysisRun)
    assert isinstance(metric, Metric)
    assert run.metadata.name == "shop-6c54bd5869-2"
    assert metric.plugin["argoproj-labs/chaos-mesh"].startswith(PLUGIN_CONFIG_START)
    assert measurement == Measurement(
        phase=Phase.RUNNING,
        message="waiting for the experiment",
        started_at=BASE + timedelta(seconds=10),
        metadata={
            "chaos-mesh/name": "shop-6c54bd5869-2.chaos.1",
            "chaos-mesh/uid": "5f2b1f0a-9a0f-4a2f-8a3c-0d6b8f6f2f11",
        },
        resume_at=BASE + timedelta(seconds=40),
    )


async def test_every_field_that_a_decision_needs_is_read() -> None:
    provider = Remembering()

    await replay(provider, "first/Run-full")

    [[_, run, metric]] = provider.calls
    assert isinstance(run, AnalysisRun)
    assert isinstance(metric, Metric)
    meta = run.metadata
    assert (meta.namespace, meta.uid) == ("shop", "0b4e0f4e-5a4c-4f63-9f0d-6f4d6d3b2a11")
    assert meta.creation_timestamp == BASE
    assert meta.deletion_timestamp == BASE + timedelta(minutes=15)
    assert meta.label("rollouts-pod-template-hash") == "6c54bd5869"
    assert meta.annotation("rollout.argoproj.io/revision") == "2"
    assert meta.controller == OwnerReference(
        kind="Rollout",
        name="shop",
        uid="7e57d004-2b97-4e7a-b45f-5387367791cd",
        controller=True,
    )
    assert len(meta.owner_references or ()) == 2
    assert meta.finalizers == ["chaos.example/cleanup", "foregroundDeletion"]
    assert [(arg.name, arg.value) for arg in run.spec.args or ()][:3] == [
        ("canary-hash", "6c54bd5869"),
        ("empty", None),  # Go does not send it
        ("none", None),
    ]
    assert [arg.value_from for arg in run.spec.args or () if arg.value_from] == [
        {"secretKeyRef": {"name": "tokens", "key": "api"}},
        {"fieldRef": {"fieldPath": "metadata.labels['env']"}},
    ]
    assert run.spec.terminate
    assert [dry.metric_name for dry in run.spec.dry_run or ()] == ["web", "*"]
    assert run.status.phase == "Running"
    result = run.result("metric-3")
    assert result is not None
    assert (result.phase, result.count, result.error) == ("Running", 8, 2)
    assert metric.name == "chaos-full"
    assert metric.failure_condition == 'result.state == "Failed"'


async def test_no_analysis_run_is_none_and_an_empty_metric_is_empty() -> None:
    provider = Remembering()

    await replay(provider, "first/Run-nil")

    assert provider.calls == [["run", None, Metric(name="")]]


async def test_refusals_are_gos_own_but_for_the_values_in_them() -> None:
    replies = await replay(Remembering(), "errors")

    assert [reply.error for reply in replies] == [
        "rpc: can't find method Plugin.Nope",
        "rpc: can't find service Nope.Run",
        "rpc: service/method request ill-formed: PluginRun",
        "rpc: can't find service Plugin.Sub.Run",
        "invalid args GetMetadataArgs",
        "invalid args %!s(<nil>)",
        "",
    ]


async def test_a_phase_that_is_no_text_is_refused_like_any_other() -> None:
    """Found by fuzzing: bytes that are not UTF-8 ended in "internal error" and a traceback in the log."""
    measurement = Struct("Measurement", (("Phase", gotypes.STRING),))
    arguments = Struct("TerminateAndResumeArgs", (("Measurement", measurement),))
    argument = Named("TerminateAndResumeArgs", {"Measurement": {"Phase": "\udcb6"}})
    client = Client()
    _, request = client.call("Plugin.Resume", Interface({argument.name: arguments}), argument)

    [reply] = await talk(metric_service(Remembering()), request, client=client, answers=1)

    assert reply.error.startswith("invalid args: ")


async def test_measurements_of_every_shape_are_answered() -> None:
    replies = await replay(Remembering(), "measurements")

    recorded = [vector.decoded[1] for vector in streams("metric")["measurements plugin->host"]]
    for reply, wanted in zip(replies, recorded, strict=True):
        if "Phase" not in wanted:
            assert reply.error == "invalid args: a measurement's phase is ''"
        else:
            assert isinstance(reply.value, dict)
            assert reply.value["Phase"] == wanted["Phase"]


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=-5)), timezone(timedelta(hours=5, minutes=30))]
)
async def test_times_are_answered_in_utc(zone: timezone) -> None:
    answer = Measurement(
        phase=Phase.SUCCESSFUL, value="{}", started_at=BASE.astimezone(zone), metadata={"a": "b"}
    )
    arguments = Struct("RunArgs", (("Metric", Struct("Metric", (("Name", gotypes.STRING),))),))
    client = Client()
    _, request = client.call(
        "Plugin.Run",
        Interface({"RunArgs": arguments}),
        Named("RunArgs", {"Metric": {"Name": "m"}}),
        reply=ANY,
    )

    service = metric_service(Remembering(answer=answer))
    [reply] = await talk(service, request, client=client, answers=1)

    assert reply.value == {
        "Phase": "Successful",
        "Value": "{}",
        "StartedAt": Opaque(encode_time(BASE)),
        "Metadata": {"a": "b"},
    }
