"""The layers of the design are held by import-linter; its contracts stand in pyproject.toml."""

from importlinter.cli import lint_imports


def test_the_layers_of_the_design_hold() -> None:
    assert lint_imports(no_cache=True) == 0
