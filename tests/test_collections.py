import gc
import weakref
from functools import partial

import anyio

from chaosplugin.app import keep_collections_short


async def test_a_full_look_for_garbage_leaves_out_what_an_earlier_one_has_kept() -> None:
    kept = [[number] for number in range(10_000)]
    often = gc.get_threshold()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_collections_short)
            await anyio.wait_all_tasks_blocked()
            assert gc.get_threshold()[0] > often[0]
            gc.collect()
            frozen = gc.get_freeze_count()
            assert frozen >= len(kept)
            assert len(gc.get_objects()) < len(kept)

            kept.clear()
            assert gc.get_freeze_count() <= frozen - 9_000, "what nobody refers to is freed as ever"
            tasks.cancel_scope.cancel()
    finally:
        gc.unfreeze()
        assert gc.get_threshold() == often

    gc.collect()
    assert gc.get_freeze_count() == 0


async def test_at_first_one_look_at_what_is_new_is_enough() -> None:
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_collections_short)
            await anyio.wait_all_tasks_blocked()
            kept = [[number] for number in range(4_000)]
            gc.collect(0)
            assert gc.get_freeze_count() >= len(kept)
            assert len(gc.get_objects(generation=1)) < len(kept), "which a look at the older ones would meet"
            tasks.cancel_scope.cancel()
    finally:
        gc.unfreeze()


async def test_later_what_is_new_is_looked_at_again() -> None:
    gc.collect()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(keep_collections_short, burst_s=0.0))
            await anyio.wait_all_tasks_blocked()
            kept = [[number] for number in range(4_000)]
            gc.collect(0)
            assert gc.get_freeze_count() == 0
            assert len(gc.get_objects(generation=1)) >= len(kept)
            tasks.cancel_scope.cancel()
    finally:
        gc.unfreeze()


class _Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.me = self


async def test_a_cycle_that_a_full_look_has_met_alive_is_found_after_a_pause() -> None:
    ring = _Ring()
    died = weakref.ref(ring)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_collections_short, 0.5)
            await anyio.wait_all_tasks_blocked()
            gc.collect()
            del ring
            gc.collect()
            assert died() is not None, "it was kept"
            with anyio.fail_after(10):
                while died() is not None:  # nobody is told
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
    finally:
        gc.unfreeze()
