"""How soon a verdict is on the AnalysisRun where kube-apiserver, Argo and Chaos Mesh are real."""

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread

from bench.figures import Figure, bounded, percentile
from tests.e2e import deployed, manifests
from tests.e2e.manifests import PLUGIN, POD_FAILURE, Json
from tests.realbed import bed, build, chaosmesh
from tests.realbed.api import Api
from tests.realbed.rollouts import VERSIONS, ArgoRollouts

_COUNT, _ROUNDS = 10, 5
_PATIENCE_S = 90
_RUNS = "/apis/argoproj.io/v1alpha1/analysisruns"
_CHAOS = "/apis/chaos-mesh.org/v1alpha1/podchaos"


def figures(folder: Path) -> list[Figure]:
    """Measure from the event of the status write that ends a fault to that which ends the AnalysisRun."""
    with _ground(folder) as (api, make_namespace):
        seen = _Seen(api)
        for turn in range(_ROUNDS):
            names = [f"timed-{turn}-{number}" for number in range(_COUNT)]
            _play(api, make_namespace, names)
            done = (turn + 1) * _COUNT
            _until("AnalysisRuns have ended", partial(seen.has, done))
    return [
        bounded("on the real bed: status write to ended AnalysisRun p50", "ms", _ms(seen.late, 50), most=50),
        bounded("on the real bed: status write to ended AnalysisRun p99", "ms", _ms(seen.late, 99), most=250),
    ]


def _play(api: Api, make_namespace: Callable[[str], None], names: Sequence[str]) -> None:
    """Begin gates whose faults do not end all at the same moment."""
    for number, name in enumerate(names):
        make_namespace(name)
        _deploy(api, name, f"{2000 + 180 * number}ms")
    _until("first versions are healthy", lambda: all(_healthy(api, name) for name in names))
    for name in names:
        api.patch(f"{_argo(name)}/rollouts/web", manifests.next_version())


def _ms(values: list[float], rank: int) -> float:
    return 1000 * percentile(values, rank)


@contextmanager
def _ground(folder: Path) -> Iterator[tuple[Api, Callable[[str], None]]]:
    with bed.running(build.cache(), folder) as running:
        chaosmesh.install(running)
        argo = ArgoRollouts(running, VERSIONS[-1])
        argo.install()
        deployed.apply(running.api, "cluster")
        plugin = folder / "chaosplugin"
        plugin.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-m", "chaosplugin"])} "$@"\n')
        plugin.chmod(0o755)
        argo.configure([{"name": PLUGIN, "location": f"file://{plugin}"}])
        argo.start()
        yield running.api, running.make_namespace


def _argo(namespace: str) -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}"


def _deploy(api: Api, namespace: str, duration: str) -> None:
    """Without steady state, as the canary would have to hold for seconds after the fault."""
    gate = manifests.gate(POD_FAILURE.format(duration=duration), steadyState={"enabled": False})
    api.create(f"{_argo(namespace)}/analysistemplates", gate)
    api.create(f"{_argo(namespace)}/rollouts", manifests.rollout())


def _healthy(api: Api, namespace: str) -> bool:
    return bool(api.get(f"{_argo(namespace)}/rollouts/web").get("status", {}).get("phase") == "Healthy")


def _until(what: str, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not in {_PATIENCE_S} s")
        time.sleep(0.2)


@dataclass
class _Seen:
    """Two watches, and what passes between their events."""

    api: Api
    late: list[float] = field(default_factory=list)
    _over: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, take in ((_CHAOS, self._take_experiment), (_RUNS, self._take_run)):
            Thread(target=self._follow, args=(path, take), daemon=True).start()

    def has(self, count: int) -> bool:
        return len(self.late) >= count

    def _follow(self, path: str, take: Callable[[Json, float], None]) -> None:
        for event in self.api.watch(path, self.api.list(path)[1]):
            if event["type"] == "MODIFIED":
                take(event["object"], time.monotonic())

    def _take_experiment(self, found: Json, now: float) -> None:
        records = ((found.get("status") or {}).get("experiment") or {}).get("containerRecords") or ()
        if records and all(r["phase"] == "Not Injected" and r.get("injectedCount") for r in records):
            self._over.setdefault(found["metadata"]["namespace"], now)

    def _take_run(self, found: Json, now: float) -> None:
        if "completedAt" in (found.get("status") or {}):
            began = self._over.pop(found["metadata"]["namespace"], None)
            if began is not None:
                self.late.append(now - began)
