"""The controller as one object: caches, controllers, plugins."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

import anyio

from chaosplugin.sandbox.host import requests
from chaosplugin.sandbox.host.analysis import WORKERS, AnalysisController
from chaosplugin.sandbox.host.assessment import V1_10, Rules
from chaosplugin.sandbox.host.caches import Caches
from chaosplugin.sandbox.host.client import Plugins
from chaosplugin.sandbox.host.experiments import ExperimentController
from chaosplugin.sandbox.host.logs import Log
from chaosplugin.sandbox.host.plugin import PluginProcesses
from chaosplugin.sandbox.host.process import Command
from chaosplugin.sandbox.host.requests import Login, Requests
from chaosplugin.sandbox.host.rollouts import RolloutController

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Settings:
    """`plugins` by registered name, as in the ConfigMap argo-rollouts-config."""

    login: Login
    plugins: Mapping[str, Command] = field(default_factory=dict)
    rules: Rules = V1_10
    workers: int = WORKERS


@dataclass(frozen=True, slots=True)
class Host:
    """A running controller."""

    caches: Caches
    processes: PluginProcesses

    def lag(self, seconds: float) -> None:
        """Tell the AnalysisRun controller of changes only so many seconds later: its copies are stale."""
        self.caches.runs.lag = seconds


@asynccontextmanager
async def start(settings: Settings, clock: Clock, log: Log) -> AsyncIterator[Host]:
    """Run a controller with plugin processes until the end of the block; they are gone then.

    Raises ConfigError if the real controller would not start with these plugins.
    """
    processes = PluginProcesses(settings.plugins, log, settings.rules)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(processes.run)
        async with control(settings, clock, processes) as caches:
            yield Host(caches, processes)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def control(settings: Settings, clock: Clock, plugins: Plugins) -> AsyncIterator[Caches]:
    """Run the controllers over any plugins until the end of the block."""
    async with requests.connect(settings.login) as client, anyio.create_task_group() as tasks:
        caches = Caches(client)
        controllers = _controllers(client, caches, settings, clock, plugins)
        for informer in caches:
            tasks.start_soon(informer.run)
        for informer in caches:
            await informer.synced.wait()
        for controller in controllers:
            tasks.start_soon(controller.run)
        yield caches
        tasks.cancel_scope.cancel()


def _controllers(
    client: Requests, caches: Caches, settings: Settings, clock: Clock, plugins: Plugins
) -> tuple[AnalysisController, ExperimentController, RolloutController]:
    return (
        AnalysisController(client, caches.runs, plugins, settings.rules, clock, settings.workers),
        ExperimentController(client, caches, clock),
        RolloutController(client, caches, clock),
    )
