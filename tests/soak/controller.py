"""A controller with its plugin, as a process that can be killed; its settings are JSON on stdin."""

import json
import os
import sys
from datetime import UTC, datetime

import anyio

from chaosplugin.sandbox.host import controller
from chaosplugin.sandbox.host.assessment import Rules
from chaosplugin.sandbox.host.controller import Settings
from chaosplugin.sandbox.host.logs import LogRecord
from chaosplugin.sandbox.host.process import Command
from chaosplugin.sandbox.host.requests import Login
from tests.e2e.manifests import PLUGIN


def _clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a program stands where app does


def _write(record: LogRecord) -> None:
    now = _clock().isoformat(timespec="milliseconds")
    sys.stdout.write(f"{now} {record.level}: {record.message} {record.fields or ''}\n")
    sys.stdout.flush()


async def _run() -> None:
    given = json.loads(sys.stdin.readline())
    environment = {**os.environ, "KUBECONFIG": given["kubeconfig"], "TMPDIR": given["folder"]}
    command = Command([sys.executable, "-m", "chaosplugin", *given["arguments"]], environment)
    login = Login(given["url"], given["token"])
    settings = Settings(login, {PLUGIN: command}, Rules(error_retry=given["error_retry"]))
    async with controller.start(settings, _clock, _write):
        await anyio.to_thread.run_sync(sys.stdin.readline)  # until its end


if __name__ == "__main__":
    anyio.run(_run)
