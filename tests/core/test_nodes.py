"""Each run of a Workflow's template, a node, has to hit something."""

from chaosplugin.core.analysis import Phase
from chaosplugin.core.commands import Recalled
from chaosplugin.core.verdict import Reason
from tests.core.given import pod
from tests.core.spawning import Spawning, killed, node, recall, step


def _world(*templates: dict[str, object], children: list[str]) -> Spawning:
    all_ = {"name": "all", "templateType": "Serial", "children": children}
    kill = step("kill", action="pod-kill")
    world = Spawning("Workflow", {"entry": "all", "templates": [all_, kill, *templates]})
    world.begin()
    world.child("kill-1", killed("web-a", world.now), step="kill", gone=True)
    world.pod_gone(pod("web-a"))
    world.pods(pod("web-c", since=world.now))
    world.wait(3)
    return world


def test_a_template_that_runs_twice_has_to_hit_twice() -> None:
    """Its second run, which selected nothing, passed as the first had hit."""
    world = _world(children=["kill", "kill"])
    world.child("kill-2", step="kill", node="fghij")
    world.child("kill-2", step="kill", node="fghij", gone=True)

    world.see_parent(world.parent(accomplished=world.now))
    recall(world, Recalled([node("kill"), node("kill", "fghij")], ()))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "template kill has hit something in 1 of its 2 runs" in world.message


def test_a_second_run_that_never_came_is_missed() -> None:
    world = _world(children=["kill", "kill"])

    world.see_parent(world.parent(accomplished=world.now))
    recall(world, Recalled([node("kill")], ()))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)


def test_a_template_that_hits_in_each_of_its_runs_is_survived() -> None:
    world = _world(children=["kill", "kill"])
    world.child("kill-2", killed("web-b", world.now), step="kill", node="fghij", gone=True)
    world.pod_gone(pod("web-b"))
    world.pods(pod("web-d", since=world.now))

    world.see_parent(world.parent(accomplished=world.now))
    world.wait(6)

    assert world.verdict == (Phase.SUCCESSFUL, Reason.SURVIVED)


def test_a_branch_of_a_task_has_to_hit_once_it_is_taken() -> None:
    world = _world(
        {
            "name": "ask",
            "templateType": "Task",
            "deadline": "9s",
            "conditionalBranches": [{"target": "more", "expression": "exitCode == 0"}],
        },
        step("more", action="pod-failure"),
        children=["kill", "ask"],
    )
    world.child("more-1", step="more")
    world.child("more-1", step="more", gone=True)

    world.see_parent(world.parent(accomplished=world.now))
    recall(world, Recalled([node("kill"), node("more")], ()))

    assert world.verdict == (Phase.INCONCLUSIVE, Reason.NOT_INJECTED)
    assert "of template more nothing was hit" in world.message
