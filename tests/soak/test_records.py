"""The oracle finds what is wrong with what was recorded, answered and removed."""

from tests.soak.world import START, World, stamp


def _recorded(world: World) -> World:
    """Play a gate whose verdict is recorded, answered, and followed by the end of the experiment."""
    world.play(10.5)
    world.record("Successful", "Survived")
    world.now += 0.1
    world.verdict("Successful", "Survived")
    world.experiment("Not Injected", 1, metadata={"deletionTimestamp": stamp(world.now)})
    world.now += 10
    return world


def test_a_verdict_that_is_recorded_answered_and_followed_is_right() -> None:
    assert _recorded(World()).judge() == []


def test_a_recorded_verdict_that_is_changed_is_found() -> None:
    world = _recorded(World())
    world.record("Failed", "SteadyStateBroken")
    assert any("was changed" in each for each in world.judge())


def test_a_measurement_that_is_changed_is_found() -> None:
    world = _recorded(World())
    world.verdict("Failed", "SteadyStateBroken")
    assert any("became" in each for each in world.judge())


def test_another_answer_than_the_recorded_verdict_is_found() -> None:
    world = World()
    world.play(10.5)
    world.record("Failed", "SteadyStateBroken")
    world.verdict("Successful", "Survived")
    assert any("Failed was recorded, Successful is answered" in each for each in world.judge())


def test_a_recorded_verdict_without_an_answer_is_lost() -> None:
    world = World()
    world.play(10.5)
    world.record("Successful", "Survived")
    world.status = world.status | {"completedAt": "now"}
    world.record("Successful", "Survived")
    assert any("is lost" in each for each in world.judge())


def test_an_answer_long_after_the_verdict_is_found() -> None:
    world = World()
    world.play(10.5)
    world.record("Successful", "Survived")
    world.now += 8
    world.verdict("Successful", "Survived")
    assert any("after the verdict was recorded" in each for each in world.judge())


def test_an_experiment_that_stays_after_its_gate_is_found() -> None:
    world = World()
    world.play(10.5)
    world.record("Successful", "Survived")
    world.verdict("Successful", "Survived")
    world.now += 8
    assert any("stayed for" in each for each in world.judge())


def test_a_killed_plugin_may_take_its_time() -> None:
    world = World()
    world.history.trouble(START + 10, START + 60, "plugin killed")
    world.play(10.5)
    world.record("Successful", "Survived")
    world.now += 8
    world.verdict("Successful", "Survived")
    world.now += 8
    assert not any("recorded" in each or "stayed" in each for each in world.judge())
