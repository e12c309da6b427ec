"""How many pods a weight is, as Argo counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.sandbox.host.canary import Pods, scale, split


@pytest.mark.parametrize(
    ("count", "percent", "surge", "pods"),
    [
        (10, 20, 1, (2, 8)),
        (5, 20, 2, (1, 4)),
        (10, 5, 1, (1, 10)),
        (1, 5, 1, (1, 1)),
        (1, 95, 1, (1, 1)),
        (4, 50, 1, (2, 2)),
        (3, 50, 0, (2, 1)),
        (3, 50, 1, (2, 2)),
        (10, 0, 1, (0, 10)),
        (10, 100, 1, (10, 0)),
        (0, 50, 1, (0, 0)),
        (1, 50, 0, (1, 0)),
        (10, 99, 0, (9, 1)),
    ],
)
def test_a_weight_is_the_nearest_split(count: int, percent: int, surge: int, pods: tuple[int, int]) -> None:
    assert split(count, percent, surge) == pods


@given(st.integers(0, 50), st.integers(0, 100), st.integers(0, 3))
def test_a_split_adds_up_to_the_replicas_or_one_more(count: int, percent: int, surge: int) -> None:
    canary, stable = split(count, percent, surge)

    assert canary + stable in {count, count + 1}
    assert min(canary, stable) >= 0
    if surge == 0:
        assert canary + stable == count


@given(st.integers(1, 20), st.integers(0, 100), st.booleans())
def test_a_rollout_settles_and_never_lacks_pods(count: int, percent: int, alive: bool) -> None:
    """Pods are available as soon as they are wanted, or those of the canary never."""
    rollout = {"spec": {"replicas": count}}
    canary, stable = Pods(0, 0), Pods(count, count)
    for _ in range(4 * count):
        wanted = scale(rollout, percent, canary, stable, Pods())
        if wanted == (canary.wanted, stable.wanted, 0):
            break
        canary = Pods(wanted[0], wanted[0] if alive else 0)
        stable = Pods(wanted[1], wanted[1])

        assert stable.available + canary.available >= count - max(count // 4, 0)

    if alive:
        assert (canary.wanted, stable.wanted) == split(count, percent, 1)


@given(st.integers(1, 20), st.integers(1, 20))
def test_an_abort_ends_with_all_pods_stable(count: int, dead: int) -> None:
    rollout = {"spec": {"replicas": count}}
    canary, stable = Pods(min(dead, count), 0), Pods(max(0, count - dead), max(0, count - dead))
    for _ in range(4 * count):
        wanted = scale(rollout, 0, canary, stable, Pods())
        canary, stable = Pods(wanted[0], 0), Pods(wanted[1], wanted[1])

    assert (canary.wanted, stable.wanted) == (0, count)
