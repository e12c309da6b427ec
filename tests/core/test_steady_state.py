"""The rules of the steady state, and what a record is, one by one."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from chaosplugin.core import fault
from chaosplugin.core.objects import (
    ChaosObject,
    ChaosStatus,
    Container,
    ExperimentStatus,
    Metadata,
    Pod,
    PodSpec,
    Record,
)
from chaosplugin.core.steady_state import Baseline, Rules, baseline, breach, excess, recovery, toll
from tests.core.given import START, hit, pod

_NOBODY = toll(Rules(), ())


@pytest.mark.parametrize(
    ("rules", "ready", "said"),
    [
        (Rules(min_ready_percent=50), 2, ""),
        (Rules(min_ready_percent=50), 1, "1 pods Ready, 2 wanted (3 were Ready before)"),
        (Rules(min_ready=1), 1, ""),
        (Rules(min_ready=1), 0, "0 pods Ready, 1 wanted (3 were Ready before)"),
        (Rules(min_ready=9), 3, ""),
        (Rules(min_ready=9), 2, "2 pods Ready, 3 wanted (3 were Ready before)"),
    ],
)
def test_a_share_is_rounded_up_and_nobody_wants_more_pods_than_there_were(
    rules: Rules, ready: int, said: str
) -> None:
    pods = [pod(f"web-{number}", ready=number < ready) for number in range(3)]

    assert breach(rules, Baseline(3, {}), pods, _NOBODY, None) == said


def test_a_pod_that_was_killed_and_still_looks_ready_is_not_back() -> None:
    killed = toll(Rules(unready_by_intent=True, replaces_pods=True), ["default/web-a"])
    before = baseline([pod("web-a"), pod("web-b")])

    dying = recovery(before, [pod("web-a"), pod("web-b")], killed, None, START)
    replaced = recovery(before, [pod("web-b"), pod("web-c")], killed, None, START)

    assert (dying.ready, dying.since) == (1, None)
    assert (replaced.ready, replaced.since) == (2, START)


def test_pods_that_traffic_is_only_aimed_at_are_no_targets() -> None:
    aimed_at = Record(id="default/stable-a", selector_key=".Target", phase="Injected", injected_count=1)
    status = ExperimentStatus(desired_phase="Run", container_records=[hit("web-a"), aimed_at])
    found = ChaosObject(kind="NetworkChaos", metadata=Metadata(), status=ChaosStatus(experiment=status))

    seen = fault.read(found, one_shot=False)

    assert seen.targets == ("default/web-a",)
    assert seen.complete


def test_a_pod_that_is_back_too_late_is_told_by_its_own_time() -> None:
    before = baseline([pod("web-a"), pod("web-b")])
    late = START + timedelta(seconds=70)

    state = recovery(before, [pod("web-a"), pod("web-b", since=late)], _NOBODY, None, START)

    assert state.since == late


def test_a_killed_container_excuses_no_restart_but_its_own() -> None:
    """Of a pod with two containers the one is killed: it starts anew once, and then falls over by itself."""
    rules = Rules(unready_by_intent=True, restarts_by_fault=1)
    app_only = toll(rules, ["default/web-a/app"])
    before = baseline([_pair(0)])

    assert excess(rules, before, [_pair(1)], app_only) == ""
    assert excess(rules, before, [_pair(2)], app_only).startswith("1 container restarts")
    assert excess(rules, before, [_pair(2)], toll(rules, ["default/web-a/app", "default/web-a/proxy"])) == ""


def test_a_fault_of_a_whole_pod_excuses_restarts_of_each_container() -> None:
    rules = Rules(unready_by_intent=True, restarts_by_fault=2)
    whole = toll(rules, ["default/web-a"])
    before = baseline([_pair(0)])

    assert excess(rules, before, [_pair(4)], whole) == ""
    assert excess(rules, before, [_pair(5)], whole).startswith("1 container restarts")


def _pair(restarts: int) -> Pod:
    alone = pod("web-a", restarts=restarts)
    return replace(alone, spec=PodSpec(containers=[Container(name="app"), Container(name="proxy")]))
