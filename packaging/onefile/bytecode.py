"""Compiles a folder of Python sources; run by the Python that will read the result, so standard library only.

Docstrings are left out, which saves a sixth of the memory. Asserts stay: libraries rely on them.
"""

import ast
import importlib.util
import marshal
import sys
from pathlib import Path


def without_docstrings(tree: ast.Module) -> ast.Module:
    """Drop the docstring of the module, and of each class and function in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is None:
                continue
            del node.body[0]
            if not node.body and not isinstance(node, ast.Module):
                node.body = [
                    ast.Pass(lineno=node.lineno, col_offset=0, end_lineno=node.lineno, end_col_offset=0)
                ]
    return tree


def compiled(source: bytes, name: str) -> bytes:
    """Return the content of a .pyc that is never compared with a source."""
    code = compile(without_docstrings(ast.parse(source, name)), name, "exec", dont_inherit=True, optimize=0)
    flags = (0b01).to_bytes(4, "little")  # hash-based, unchecked
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + marshal.dumps(code)


def main(folder: Path) -> None:
    """Put a .pyc in the place of each .py."""
    for source in sorted(folder.rglob("*.py")):
        name = str(source.relative_to(folder))
        source.with_suffix(".pyc").write_bytes(compiled(source.read_bytes(), name))
        source.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
