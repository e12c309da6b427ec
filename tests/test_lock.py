"""requirements.lock holds what pyproject.toml asks for; checked without a network."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_LOCK = (_ROOT / "requirements.lock").read_text()
_PINS = dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", _LOCK))


def _asked_for() -> list[str]:
    project = _PROJECT["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    return sorted({*project["dependencies"], *extras, *_PROJECT["build-system"]["requires"]})


@pytest.mark.parametrize("text", _asked_for())
def test_the_lock_satisfies_each_requirement(text: str) -> None:
    requirement = Requirement(text)
    pinned = _PINS.get(canonicalize_name(requirement.name))

    assert pinned is not None, "run `make lock`"
    assert requirement.specifier.contains(pinned), "run `make lock`"


def test_the_lock_pins_nothing_that_nobody_asks_for() -> None:
    entries = re.split(r"(?m)^(?=[a-z0-9])", _LOCK)
    direct = {entry.split("==")[0] for entry in entries if "chaosplugin (pyproject.toml)" in entry}

    assert direct == {canonicalize_name(Requirement(text).name) for text in _asked_for()}


def test_every_pin_has_a_hash_and_no_index_is_named() -> None:
    assert _LOCK.count(" \\\n    --hash=sha256:") >= len(_PINS)
    assert "://" not in _LOCK
