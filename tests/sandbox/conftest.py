"""A cluster in the test's own task group."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chaosplugin.sandbox.cluster import Cluster, Settings, start


def clock() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - a test stands where app does


@pytest.fixture
def running(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Cluster]]:
    """`async with running(**settings) as cluster`; a fixture cannot hold a task group across its yield."""

    def run(**settings: Any) -> AbstractAsyncContextManager[Cluster]:
        return start(clock, tmp_path, Settings(**settings))

    return run
