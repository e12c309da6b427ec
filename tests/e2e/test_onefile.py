"""Whole gates by the one file, in the sandbox; the real controller always runs that file."""

import pytest

from tests.e2e import test_gate
from tests.e2e.conftest import grounds
from tests.e2e.story import Story

pytestmark = pytest.mark.parametrize("ground", grounds("file"), indirect=True)


def test_a_canary_that_survives_is_promoted(story: Story) -> None:
    test_gate.test_a_canary_that_survives_pod_failure_is_promoted(story)


def test_a_canary_that_does_not_come_back_is_aborted(story: Story) -> None:
    test_gate.test_a_canary_that_does_not_come_back_is_aborted_with_the_reason(story)
