"""The AnalysisRun controller: calls plugins, writes what they answer, and says what that means.

Source: argo-rollouts analysis/{controller,analysis,sync}.go, metricproviders/plugin/rpc/rpc.go.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import anyio

from chaosplugin.sandbox.api.resources import ANALYSIS_RUNS, SECRETS, Object
from chaosplugin.sandbox.host import assessment
from chaosplugin.sandbox.host.arguments import ArgumentError, resolve_metric
from chaosplugin.sandbox.host.assessment import KEPT, Rules, Task
from chaosplugin.sandbox.host.client import CallFailed, PluginClient, Plugins, PluginUnavailable
from chaosplugin.sandbox.host.informer import Informer, Key, key_of
from chaosplugin.sandbox.host.objects import COMPLETED, copy, difference, stamp
from chaosplugin.sandbox.host.requests import RequestError, Requests
from chaosplugin.sandbox.host.workers import Workers

WORKERS = 30


@dataclass(frozen=True, slots=True)
class _Reconcile:
    """One look at a run: a copy to work on, its metrics for the plugin, the texts to hide, the dry ones."""

    run: Object
    metrics: dict[str, Object]
    secrets: frozenset[str]
    dry: frozenset[str]


class AnalysisController:
    """Follows AnalysisRuns. It reads its cache only, so its copy may be older than its own last write."""

    def __init__(
        self,
        requests: Requests,
        runs: Informer,
        plugins: Plugins,
        rules: Rules,
        clock: Callable[[], datetime],
        workers: int = WORKERS,
    ) -> None:
        self._requests = requests
        self._runs = runs
        self._plugins = plugins
        self._rules = rules
        self._clock = clock
        self._workers = Workers(self._reconcile, workers)
        runs.listen(lambda _, run: self._workers.add(key_of(run)))

    async def run(self) -> None:
        await self._workers.run()

    async def _reconcile(self, key: Key) -> float | None:
        """Look at a run; return the seconds after which something is due by time."""
        known = self._runs.get(key)
        if known is None or known["metadata"].get("deletionTimestamp"):
            return None
        before = known.get("status") or {}
        if before.get("phase") in COMPLETED:
            return None
        run = copy(known)
        run["status"] = copy(before)
        due = None
        try:
            due = await self._advance(run)
        except ArgumentError as error:
            run["status"] |= {"phase": "Error", "message": f"Unable to resolve metric arguments: {error}"}
        change = difference(before, run["status"])
        if change:
            await self._write(key, change)
        return due

    async def _write(self, key: Key, change: Object) -> None:
        try:
            await self._requests.patch(ANALYSIS_RUNS, *key, {"status": change})
        except RequestError as error:
            if error.status != 404:  # deleted meanwhile
                raise

    async def _advance(self, run: Object) -> float | None:
        status = run["status"]
        metrics = _without_secrets(run)
        wrong = assessment.invalid(metrics)
        if wrong:
            status |= {"phase": "Error", "message": f"Analysis spec invalid: {wrong}"}
            return None
        look = await self._prepare(run)
        due = list(assessment.tasks(run, metrics, self._clock(), self._rules))
        async with anyio.create_task_group() as tasks:
            for task in due:
                tasks.start_soon(self._measure, look, task)
        assessment.assess(run, metrics, set(look.dry), self._clock())
        await self._collect(run, metrics)
        now = self._clock()
        at = assessment.next_look(run, metrics, now, self._rules)
        return None if at is None or status["phase"] in COMPLETED else (at - now).total_seconds()

    async def _prepare(self, run: Object) -> _Reconcile:
        """Resolve secrets into the arguments, and arguments into the metrics."""
        spec = run["spec"]
        secrets = set()
        for each in spec.get("args") or ():
            reference = (each.get("valueFrom") or {}).get("secretKeyRef")
            if reference:
                each["value"] = await self._secret(run["metadata"]["namespace"], reference)
                secrets.add(each["value"])
        metrics = {each["name"]: resolve_metric(each, spec.get("args") or ()) for each in spec["metrics"]}
        rules = [each["metricName"] for each in spec.get("dryRun") or ()]
        dry = frozenset(name for name in metrics if any(re.search(rule, name) for rule in rules))
        return _Reconcile(run, metrics, frozenset(secrets), dry)

    async def _secret(self, namespace: str, reference: Object) -> str:
        try:
            secret = await self._requests.get(SECRETS, namespace, reference["name"])
        except RequestError as error:
            raise ArgumentError(str(error)) from error
        value = (secret.get("data") or {}).get(reference["key"])
        if value is None:
            raise ArgumentError(f"key '{reference['key']}' does not exist in secret '{reference['name']}'")
        return base64.b64decode(value).decode(errors="replace")

    async def _measure(self, look: _Reconcile, task: Task) -> None:
        metric = look.metrics[task.metric]
        metadata: dict[str, str] = {}
        try:
            plugin = await self._plugin(metric)
        except PluginUnavailable as error:
            measurement = (task.unfinished or {"startedAt": stamp(self._clock())}) | {
                "phase": "Error",
                "message": f"unable to get metric plugin: unable to start plugin system: {error}",
            }
        else:
            measurement = await self._call(plugin, look.run, metric, task)
            if assessment.result_of(look.run, task.metric) is None:
                metadata = await _metadata(plugin, metric)
        for secret in look.secrets:
            if secret and measurement.get("message"):
                measurement["message"] = measurement["message"].replace(secret, "*****")
        dry = task.metric in look.dry
        result = assessment.record(look.run, task, measurement, self._clock(), dry_run=dry)
        if metadata:
            result["metadata"] = metadata

    async def _plugin(self, metric: Object) -> PluginClient:
        (name,) = metric["provider"].get("plugin") or ("",)
        if not name:
            raise PluginUnavailable("this host has no built-in providers, only plugins")
        return await self._plugins.get(name)

    async def _call(self, plugin: PluginClient, run: Object, metric: Object, task: Task) -> Object:
        ending = assessment.terminating(run)
        verb = "run" if task.unfinished is None else "terminate" if ending else "resume"
        try:
            if task.unfinished is None:
                answer = await plugin.run(run, metric)
            elif ending:
                answer = await plugin.terminate(run, metric, task.unfinished)
            else:
                answer = await plugin.resume(run, metric, task.unfinished)
        except CallFailed as error:
            return {
                "phase": "Error",
                "message": f"{verb.title()} rpc call error: {error}",
                "finishedAt": stamp(self._clock()),
            }
        if answer["phase"] == "Error":
            answer["message"] = f"failed to {verb} via plugin: {answer.get('message', '')}"
        overwritten = {"Successful"} | ({"Inconclusive"} if self._rules.overwrites_inconclusive else set())
        if verb == "terminate" and answer["phase"] in overwritten:
            answer["message"] = "Metric Terminated"
        return answer

    async def _collect(self, run: Object, metrics: list[Object]) -> None:
        """Let old measurements of each metric go, the plugin's part first."""
        kept = {each["metricName"]: each["limit"] for each in run["spec"].get("measurementRetention") or ()}
        by_name = {each["name"]: each for each in metrics}
        for result in run["status"].get("metricResults") or ():
            limit = int(kept.get(result["name"]) or KEPT)
            if len(result.get("measurements") or ()) <= limit or result["name"] not in by_name:
                continue
            metric = by_name[result["name"]]
            try:
                plugin = await self._plugin(metric)
                refusal = await plugin.garbage_collect(run, metric, limit)
            except (PluginUnavailable, CallFailed):
                return  # tried again after the next measurement
            if refusal:
                return
            result["measurements"] = result["measurements"][-limit:]


async def _metadata(plugin: PluginClient, metric: Object) -> dict[str, str]:
    try:
        return await plugin.get_metadata(metric)
    except CallFailed as error:
        return {"error": f"GetMetadata rpc call error: {error}"}


def _without_secrets(run: Object) -> list[Object]:
    """Resolve metrics for our own decisions, in which secrets have no part."""
    args = [
        {"name": each["name"], "value": "temp-for-secret"}
        if (each.get("valueFrom") or {}).get("secretKeyRef")
        else each
        for each in run["spec"].get("args") or ()
    ]
    return [resolve_metric(each, args) for each in run["spec"].get("metrics") or ()]
