"""The queue of the controllers."""

from itertools import pairwise

import anyio
import pytest

from chaosplugin.sandbox.api.errors import bad_request
from chaosplugin.sandbox.workqueue import WorkQueue


async def test_a_key_waits_once_and_the_earlier_time_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("late", 0.05)
    queue.add("twice", 60)
    queue.add("twice")
    queue.add("twice", 30)
    with anyio.fail_after(10):
        taken = [await queue.take(), await queue.take()]

    assert taken == ["twice", "late"]
    with pytest.raises(TimeoutError), anyio.fail_after(0.1):
        await queue.take()


async def test_a_key_that_fails_comes_again_and_is_forgotten_when_it_succeeds() -> None:
    queue: WorkQueue[str] = WorkQueue()
    times: list[float] = []
    done = anyio.Event()

    async def look(_: str) -> None:
        times.append(anyio.current_time())
        if len(times) < 5:
            raise bad_request("not yet")
        done.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.work, look)
        queue.add("x")
        with anyio.fail_after(10):
            await done.wait()
        tasks.cancel_scope.cancel()

    waits = [after - before for before, after in pairwise(times)]
    assert all(wait >= 0.005 * 2**number for number, wait in enumerate(waits))
