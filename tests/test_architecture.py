"""The layers of the design are held by import-linter; its contracts stand in pyproject.toml."""

import subprocess
import sys
from pathlib import Path


def test_the_layers_of_the_design_hold() -> None:
    """In a process of its own: import-linter switches off the loggers of the one that it runs in."""
    linter = Path(sys.executable).with_name("lint-imports")

    root = Path(__file__).parents[1]
    done = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
