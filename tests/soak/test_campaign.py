"""What a soak says of the memory."""

from tests.soak.campaign import ENOUGH, Result


def grown(*steps: float) -> Result:
    """Return a soak of a gate a second, by so many MB more with each sample, half of them each."""
    memory, mb = [], 80.0
    for number in range(2 * ENOUGH):
        mb += steps[number * len(steps) // (2 * ENOUGH)]
        memory.append((number, mb))
    return Result(memory=memory)


def test_what_grows_only_until_it_is_warm_is_flat() -> None:
    slope = grown(0.05, 0.0).slope

    assert slope is not None
    assert abs(slope) < 0.01


def test_what_goes_on_growing_is_measured_for_a_hundred_gates() -> None:
    slope = grown(0.0, 0.02).slope

    assert slope is not None
    assert abs(slope - 2.0) < 0.01


def test_too_few_samples_are_said_to_be_too_few() -> None:
    result = Result(memory=[(number, 80.0 + number) for number in range(ENOUGH - 1)])

    assert result.slope is None
    assert any("too few to judge" in line for line in result.lines())
