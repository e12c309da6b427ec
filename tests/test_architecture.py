"""The layers of the design are held by import-linter; its contracts stand in pyproject.toml."""

import subprocess
import sys
from pathlib import Path


def test_the_layers_of_the_design_hold() -> None:
    """In a process of its own: import-linter silences every logger that is there already."""
    program = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    checked = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )

    assert checked.returncode == 0, checked.stdout
