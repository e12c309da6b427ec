"""Fifty gates in changing weather, in every test run; `make soak` plays a thousand in harsher weather."""

from pathlib import Path

import pytest

from tests.soak.campaign import soak

GATES = 50
SEED = 11  # a run of the tests says what a change has broken, so it plays what was played before


@pytest.mark.timeout(420)
async def test_gates_under_faults_and_kills_are_judged_right_and_leave_nothing(tmp_path: Path) -> None:
    result = await soak(
        tmp_path, seed=SEED, gates=GATES, together=GATES // 2, tell=lambda _: None, apart=True
    )

    assert result.played == GATES
    assert not result.wrong, f"make soak APART=1 SEED={SEED} GATES={GATES}\n" + "\n".join(result.wrong)
