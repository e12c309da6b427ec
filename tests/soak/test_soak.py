"""Fifty gates in changing weather, as a part of every test run; `make soak` plays a thousand."""

import random
import sys
from pathlib import Path

import pytest

from tests.soak.campaign import soak

GATES = 50


@pytest.mark.timeout(420)
async def test_gates_under_faults_and_kills_are_judged_right_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}: make soak SEED={seed} GATES={GATES} plays the same again\n")

    result = await soak(tmp_path, seed=seed, gates=GATES, together=GATES // 2, tell=lambda _: None)

    assert result.played == GATES
    assert not result.wrong, f"seed {seed}\n" + "\n".join(result.wrong)
