"""Every seed and every input that once was a finding, without atheris: on each Python, in each test run."""

import importlib
from pathlib import Path

import pytest

from tests.fuzz.driver import FOLDER, LONGEST, TARGETS

_MOST = 200_000  # bytes of all inputs in the repository
_KEPT = sorted(path for path in (FOLDER / "corpus").rglob("*") if path.is_file())


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_hold(target: str) -> None:
    module = importlib.import_module(f"tests.fuzz.{target}")
    seeds = list(module.seeds())

    for seed in seeds:
        assert len(seed) <= LONGEST
        module.check(seed)
    assert seeds


@pytest.mark.parametrize("path", _KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_kept_inputs_hold(path: Path) -> None:
    importlib.import_module(f"tests.fuzz.{path.parent.name}").check(path.read_bytes())


def test_the_corpus_stays_small() -> None:
    assert sum(path.stat().st_size for path in _KEPT) < _MOST
    assert {path.parent.name for path in _KEPT} <= set(TARGETS)
