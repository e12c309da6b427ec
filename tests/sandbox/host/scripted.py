"""A plugin in the test's own process, which writes down every call and answers what the test wants."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio

from chaosplugin.sandbox.api.resources import Object
from chaosplugin.sandbox.host.client import PluginClient, PluginUnavailable

STARTED = "2026-01-02T03:04:05Z"
RUNNING: Object = {"phase": "Running", "startedAt": STARTED}


def ended(phase: str, message: str = "", **more: Any) -> Object:
    return {"phase": phase, "startedAt": STARTED} | ({"message": message} if message else {}) | more


@dataclass(frozen=True)
class Call:
    """`count` and `error` are those of the metric's result at the time of the call."""

    method: str
    run: str
    metric: str
    count: int = 0
    error: int = 0
    seen: Object = field(default_factory=dict, compare=False)

    @property
    def touched(self) -> str:
        """What the test has last written on the run that the call saw."""
        return str((self.seen["run"]["metadata"].get("annotations") or {}).get("touched", ""))


Answer = Callable[[Call], Awaitable[Object] | Object]


def always(answer: Object) -> Answer:
    return lambda _: dict(answer)


def in_turn(*answers: Object) -> Answer:
    left = list(answers)
    return lambda _: dict(left.pop(0) if len(left) > 1 else left[0])


def by_try(*answers: Object) -> Answer:
    """Answer each try of a metric with the next of these, then with the last; the same try gets the same."""
    return lambda call: dict(answers[min(call.count + call.error, len(answers) - 1)])


def held(release: anyio.Event) -> Answer:
    """Survive, as soon as `release` is set."""

    async def answer(_: Call) -> Object:
        await release.wait()
        return ended("Successful")

    return answer


@dataclass
class Script:
    """Answers of the plugin; `slow` is how many seconds Run takes."""

    run_: Answer = field(default_factory=lambda: always(RUNNING))
    resume_: Answer | None = None
    terminate_: Answer = field(default_factory=lambda: always(ended("Inconclusive", "stopped")))
    slow: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def get(self, name: str) -> PluginClient:
        if name != "argo/chaos":
            why = f"plugin {name} not configured in configmap"
            raise PluginUnavailable(f"unable to find plugin ({name}): {why}")
        return self

    async def run(self, run: Object, metric: Object) -> Object:
        call = self._note("Run", run, metric)
        await anyio.sleep(self.slow)
        return await _made(self.run_, call)

    async def resume(self, run: Object, metric: Object, measurement: Object) -> Object:
        call = self._note("Resume", run, metric)
        return dict(measurement) if self.resume_ is None else await _made(self.resume_, call)

    async def terminate(self, run: Object, metric: Object, measurement: Object) -> Object:
        return await _made(self.terminate_, self._note("Terminate", run, metric))

    async def garbage_collect(self, run: Object, metric: Object, limit: int) -> str:
        self._note(f"GarbageCollect {limit}", run, metric)
        return ""

    async def get_metadata(self, metric: Object) -> dict[str, str]:
        self._note("GetMetadata", {"metadata": {"name": ""}}, metric)
        return dict(self.metadata)

    def of(self, method: str) -> list[Call]:
        return [call for call in self.calls if call.method == method]

    @property
    def methods(self) -> list[str]:
        return [call.method for call in self.calls]

    async def wait(self, holds: Callable[["Script"], object], seconds: float = 20) -> None:
        """Wait until `holds`, looking after every call."""
        with anyio.fail_after(seconds):
            while not holds(self):
                await self._changed.wait()
                self._changed = anyio.Event()

    def _note(self, method: str, run: Object, metric: Object) -> Call:
        results = (run.get("status") or {}).get("metricResults") or ()
        result: Object = next((each for each in results if each["name"] == metric["name"]), {})
        counts = (int(result.get("count") or 0), int(result.get("error") or 0))
        seen = {"run": run, "metric": metric}
        call = Call(method, run["metadata"]["name"], metric["name"], *counts, seen=seen)
        self.calls.append(call)
        self._changed.set()
        return call


async def _made(answer: Answer, call: Call) -> Object:
    made = answer(call)
    return made if isinstance(made, dict) else await made
