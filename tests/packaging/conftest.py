"""The one file, in a root that has nothing."""

from pathlib import Path

import pytest

from tests.packaging import release
from tests.packaging.bareroot import BareRoot


@pytest.fixture
def bare(tmp_path: Path) -> BareRoot:
    return BareRoot(tmp_path, release.file())
