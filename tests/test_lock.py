"""The lock files hold what pyproject.toml asks for; checked without a network.

requirements.lock is for the plugin alone, requirements-dev.lock has the tools of tests and checks as well.
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_LOCKS = {name: (_ROOT / name).read_text() for name in ("requirements.lock", "requirements-dev.lock")}


def _pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", _LOCKS[lock]))


def _asked_for(lock: str) -> list[str]:
    project = _PROJECT["project"]
    extras = project["optional-dependencies"]
    wanted = extras if lock == "requirements-dev.lock" else ("build",)
    asked = {*project["dependencies"], *_PROJECT["build-system"]["requires"]}
    return sorted(asked.union(*(extras[extra] for extra in wanted)))


_ASKED = [(lock, text) for lock in _LOCKS for text in _asked_for(lock)]


@pytest.mark.parametrize(("lock", "text"), _ASKED)
def test_the_lock_satisfies_each_requirement(lock: str, text: str) -> None:
    requirement = Requirement(text)
    pinned = _pins(lock).get(canonicalize_name(requirement.name))

    assert pinned is not None, "run `make lock`"
    assert requirement.specifier.contains(pinned), "run `make lock`"


@pytest.mark.parametrize("lock", _LOCKS)
def test_the_lock_pins_nothing_that_nobody_asks_for(lock: str) -> None:
    entries = re.split(r"(?m)^(?=[a-z0-9])", _LOCKS[lock])
    direct = {entry.split("==")[0] for entry in entries if "chaosplugin (pyproject.toml)" in entry}

    assert direct == {canonicalize_name(Requirement(text).name) for text in _asked_for(lock)}


def test_both_locks_pin_the_same_versions() -> None:
    small, large = map(_pins, _LOCKS)

    assert small.items() <= large.items()


@pytest.mark.parametrize("lock", _LOCKS)
def test_every_pin_has_a_hash_and_no_index_is_named(lock: str) -> None:
    assert _LOCKS[lock].count(" \\\n    --hash=sha256:") >= len(_pins(lock))
    assert "://" not in _LOCKS[lock]
