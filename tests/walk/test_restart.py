"""Somebody is killed at each point of a measurement's way: one fault, the right verdict, nothing left."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from tests.e2e.manifests import PLUGIN
from tests.walk.bed import Bed, Controller, bed
from tests.walk.gate import Gate, metric, settle
from tests.walk.points import POINTS, Point, Stop, reach, stopping

SHORT_S = 16

Walk = Callable[[Bed, Controller, list[Stop]], Awaitable[Controller]]


def _let_go(stops: list[Stop]) -> None:
    for stop in stops:
        stop.let_go()


async def _plugin(_: Bed, control: Controller, stops: list[Stop]) -> Controller:
    """The plugin is killed, and the controller looks at all AnalysisRuns."""
    await control.kill_plugin()
    _let_go(stops)
    for stop in stops:
        stop.gate.touch()
    return control


async def _host(bed_: Bed, control: Controller, stops: list[Stop]) -> Controller:
    """The controller ends, as on a loss of leadership, and takes the plugin along; another one begins."""
    await control.stop()
    _let_go(stops)
    return await bed_.begin()


async def _both(bed_: Bed, control: Controller, stops: list[Stop]) -> Controller:
    await control.kill_plugin()
    await control.stop()
    _let_go(stops)
    return await bed_.begin()


async def _untouched(_: Bed, control: Controller, stops: list[Stop]) -> Controller:
    """The plugin is killed, and nobody looks before every deadline is over."""
    await control.kill_plugin()
    _let_go(stops)
    await anyio.sleep(SHORT_S + 1.5)
    for stop in stops:
        stop.gate.touch()
    return control


def _short(point: Point) -> Point:
    """Let a gate's time be over soon."""
    config = point.metric["provider"]["plugin"][PLUGIN]
    return replace(point, metric=metric(config=config | {"timeout": f"{SHORT_S}s"}))


def _ends(point: Point) -> bool:
    """Whether it ends by itself: a Schedule that nobody pauses fires on, until it is late."""
    return "scheduleFor" not in point.metric["provider"]["plugin"][PLUGIN]


async def _walk(folder: Path, kill: Walk) -> list[str]:
    problems: list[str] = []
    async with bed(folder) as bed_:
        control = await bed_.begin()
        points = [_short(point) for point in POINTS if _ends(point)] if kill is _untouched else POINTS
        stops = [stopping(bed_, point, point.namespace) for point in points]
        await bed_.until("first versions are healthy", lambda: all(stop.gate.healthy for stop in stops))
        for late in (True, False):
            wave = [stop for stop, point in zip(stops, points, strict=True) if point.late is late]
            await reach(bed_, wave)
        control = await kill(bed_, control, stops)
        problems += await settle([stop.gate for stop in stops])
        for stop, point in zip(stops, points, strict=True):
            problems += [f"{point.namespace}: {what}" for what in _wrong(stop.gate, point)]
        await control.stop()
        problems += [f"leaves {name}" for name in bed_.socket_files]
    return problems


def _wrong(gate: Gate, point: Point) -> list[str]:
    wrong = []
    if len(gate.created) != 1:
        wrong.append(f"{len(gate.created)} experiments were created")
    # the host may meet a plugin that is just dying: an Error of its own, which is retried
    told = [
        (each["phase"], each.get("message", "").partition(":")[0])
        for each in gate.measurements
        if not (each["phase"] == "Error" and of_host(each["message"]))
    ]
    if told != [(point.phase, point.reason)]:
        wrong.append(f"measured {[(each['phase'], each.get('message')) for each in gate.measurements]}")
    if len(gate.verdicts) != 1:
        wrong.append(f"{len(gate.verdicts)} verdicts: {gate.verdicts}")
    return wrong


def of_host(message: str) -> bool:
    """Tell whether an Error is the controller's own, of a plugin that dies in a call."""
    return "unable to get metric plugin" in message or "rpc call error" in message


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kill", [_plugin, _host, _both, _untouched])
async def test_whoever_dies_wherever_one_fault_one_verdict_and_nothing_left(
    tmp_path: Path, kill: Walk
) -> None:
    """One after the other: a sandbox that plays a hundred gates at once is too late for faults of seconds."""
    problems = await _walk(tmp_path / "bed", kill)
    assert not problems, "\n".join(problems)
