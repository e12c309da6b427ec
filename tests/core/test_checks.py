"""A StatusCheck in a Workflow must be able to fail while its step lasts, or its failure is hidden."""

import pytest

from chaosplugin.core import spawning
from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import InvalidConfig

_KILL = {"action": "pod-kill", "mode": "one"}
_FAULT: dict[str, object] = {"name": "kill", "templateType": "PodChaos", "deadline": "10s", "podChaos": _KILL}
_TOLD_IN_FULL = (
    'deadline: met "30s", wanted more than 30s; the check "ask" can have failed after 30s at the earliest, '
    "when its intervalSeconds (10) x failureThreshold (3) are over, and of a later failure Chaos Mesh "
    "tells nobody: lengthen the deadline, or let the check fail sooner"
)
_POLICY = Policy(allow_workflow_task=True, allow_status_check=True)


def _within(type_: str, *children: str, **more: object) -> dict[str, object]:
    return {"name": "all", "templateType": type_, "children": list(children), **more}


def _check(deadline: str, spec: object) -> dict[str, object]:
    asking = {"abortWithStatusCheck": True, "statusCheck": spec}
    return {"name": "ask", "templateType": "StatusCheck", "deadline": deadline, **asking}


def _read(*templates: dict[str, object]) -> spawning.Flow:
    return spawning.read_workflow("spec", {"entry": "all", "templates": list(templates)}, _POLICY)


@pytest.mark.parametrize(
    ("deadline", "spec"),
    [
        ("31s", {}),
        ("31s", {"failureThreshold": None, "intervalSeconds": None}),
        ("7s", {"intervalSeconds": 2}),
        ("11s", {"failureThreshold": 1}),
        ("21s", {"duration": "20s"}),
        ("5s", {"duration": "1s"}),
        ("12s", {"duration": "10.9s"}),  # Chaos Mesh stores in whole seconds when it began
        ("21s", {"duration": "20s", "failureThreshold": 101}),
        ("2m1s", {"duration": "1h", "intervalSeconds": 40}),
    ],
)
def test_a_check_that_can_fail_within_its_step_is_taken(deadline: str, spec: dict[str, object]) -> None:
    assert _read(_within("Parallel", "kill", "ask"), _FAULT, _check(deadline, spec)).steps == {"kill": 1}


@pytest.mark.parametrize(
    ("deadline", "spec", "said"),
    [
        (
            "30s",
            {},
            _TOLD_IN_FULL,
        ),
        ("5s", {"intervalSeconds": 2}, "wanted more than 6s"),
        ("20s", {"duration": "12s"}, "when its duration (12s) is over, in whole intervals of 10s"),
        ("90s", {"intervalSeconds": 40, "duration": "2m"}, "wanted more than 2m"),
        ("5m", {"failureThreshold": 101}, "statusCheck.failureThreshold: met 101, wanted at most 100"),
        (
            "5m",
            {"failureThreshold": 6, "recordsHistoryLimit": 5},
            "wanted at most 5, its recordsHistoryLimit",
        ),
        ("5m", {"intervalSeconds": 10**30}, "wanted more than"),
        ("5m", {"duration": "soon"}, 'statusCheck.duration: met "soon", wanted a Go duration'),
        ("5m", None, "statusCheck: met nothing, wanted an object"),
    ],
)
def test_a_check_whose_failure_would_be_hidden_is_refused(deadline: str, spec: object, said: str) -> None:
    """Its step's end deletes it while it asks, and the Workflow goes on as if it had not failed."""
    with pytest.raises(InvalidConfig) as refused:
        _read(_within("Parallel", "kill", "ask"), _FAULT, _check(deadline, spec))

    assert str(refused.value).startswith("spec.templates[2].")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("type_", "deadline", "said"),
    [
        ("Serial", "41s", ""),
        ("Serial", "40s", 'met "40s" less 10s before it, wanted more than 40s'),
        ("Serial", "9s", 'met "9s" less 10s before it, wanted more than 40s'),
        ("Parallel", "31s", ""),
        ("Parallel", "30s", 'met "30s", wanted more than 30s'),
    ],
)
def test_a_check_has_what_is_left_of_the_time_of_all_that_it_is_within(
    type_: str, deadline: str, said: str
) -> None:
    """A Task may be over at once, and lead nowhere."""
    branch: object = {"target": "kill", "expression": "exitCode == 0"}
    task: dict[str, object] = {
        "name": "try",
        "templateType": "Task",
        "deadline": "60s",
        "conditionalBranches": [branch],
    }
    templates: list[dict[str, object]] = [
        _within(type_, "inner", "ask", deadline=deadline),
        {"name": "inner", "templateType": "Parallel", "children": ["try", "kill"]},
        task,
        _FAULT,
        _check("60s", {}),
    ]
    if not said:
        assert _read(*templates).steps == {"kill": 1}
        return

    with pytest.raises(InvalidConfig) as refused:
        _read(*templates)

    assert str(refused.value).startswith(f"spec.templates[0].deadline: {said}")
