"""What the one file's Python code loses, and what it must not lose."""

import ast
import importlib
import sys
from pathlib import Path, PurePosixPath

import pytest
from onefile import bytecode, slim

_SOURCE = '''\
"""Of the module."""
from __future__ import annotations

class A:
    """Of the class."""
    def empty(self):
        """Nothing but this."""
    async def asserts(self):
        """Of the method."""
        assert False, "kept"

TEXT = """not a docstring"""
'''


def test_docstrings_go_and_nothing_else() -> None:
    module = bytecode.without_docstrings(ast.parse(_SOURCE))
    text = ast.unparse(module)

    assert "Of the" not in text
    assert "Nothing but this" not in text
    assert "assert False, 'kept'" in text
    assert "'not a docstring'" in text
    compile(module, "x.py", "exec")  # an empty body would be an error


def test_lines_in_tracebacks_stay_right() -> None:
    module = bytecode.without_docstrings(ast.parse(_SOURCE))
    (found,) = [node for node in ast.walk(module) if isinstance(node, ast.Assert)]

    assert _SOURCE.splitlines()[found.lineno - 1].strip().startswith("assert")


def test_bytecode_is_that_of_the_interpreter_and_wants_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "compiled_here.py").write_text("ANSWER = 6 * 7\n")
    bytecode.main(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert [file.name for file in tmp_path.iterdir()] == ["compiled_here.pyc"]
    assert importlib.import_module("compiled_here").ANSWER == 42


def test_a_lazy_package_imports_a_module_when_its_name_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lazily"
    package.mkdir()
    source = 'from lazily.one import One\nfrom lazily.two import Two as Other\n__version__ = "1"\n'
    (package / "__init__.py").write_text(slim.lazy(source))
    (package / "one.py").write_text("class One: ...\n")
    (package / "two.py").write_text("class Two: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    lazily = importlib.import_module("lazily")
    before = {name for name in sys.modules if name.startswith("lazily.")}
    found = lazily.One
    after = {name for name in sys.modules if name.startswith("lazily.")}

    assert before == set()
    assert found.__name__ == "One"
    assert after == {"lazily.one"}
    assert lazily.__version__ == "1"
    with pytest.raises(AttributeError, match="has no attribute 'Two'"):
        lazily.Two  # noqa: B018 - the look-up is the test
    assert importlib.import_module("lazily.two").Two is lazily.Other


def test_a_lazy_package_has_no_names_of_modules_that_are_left_out() -> None:
    source = (
        "from kubernetes_asyncio.client.models.v1_pod import V1Pod\n"
        "from kubernetes_asyncio.client.configuration import Configuration\n"
    )

    assert "V1Pod" not in slim.lazy(source)
    assert "'Configuration': ('kubernetes_asyncio.client.configuration', 'Configuration')" in slim.lazy(
        source
    )


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("aiohttp/client.py", True),
        ("aiohttp/_http_parser.cpython-311-x86_64-linux-gnu.so", True),
        ("certifi/cacert.pem", True),
        ("aiohttp/_websocket/mask.pyx", False),
        ("six-1.17.0.dist-info/METADATA", True),
        ("six.py", True),
        ("LICENSE", False),
        ("six-1.17.0.dist-info/RECORD", False),
        ("numbers/tests/test_all.py", False),
        ("kubernetes_asyncio/watch/watch_test.py", False),
        ("kubernetes_asyncio/client/configuration.py", True),
        ("kubernetes_asyncio/client/models/__init__.py", True),
        ("kubernetes_asyncio/client/models/v1_pod.py", False),
        ("kubernetes_asyncio/client/api/core_v1_api.py", False),
        ("google/rpc/status_pb2.py", True),
        ("google/api/http_pb2.py", False),
        ("cffi/api.py", False),
        ("_cffi_backend.cpython-311-x86_64-linux-gnu.so", True),
        ("../../bin/tool", False),
    ],
)
def test_sources_of_extensions_tests_and_scripts_stay_behind(path: str, wanted: bool) -> None:
    assert slim.is_wanted_file(PurePosixPath(path)) is wanted
