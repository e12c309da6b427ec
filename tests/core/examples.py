"""How many lives of a gate are tried: few in a test run, and many more under `make fuzz`."""

from hypothesis import settings


def lives(few: int, steps: int) -> settings:
    """Settings of a state machine: `few` examples, twenty times as many under `make fuzz`."""
    times = max(1, settings.default.max_examples // 1000) if settings.default else 1
    return settings(max_examples=few * times, stateful_step_count=steps)
