"""Leaves out what the plugin never loads, and makes one library load less.

kubernetes-asyncio imports 900 modules of models for the one class of configuration that is used: 36 MB and
a tenth of a second. Here its packages look a name up when it is asked for; all names stay.
"""

import ast
from pathlib import Path, PurePath

_LAZY = tuple(f"kubernetes_asyncio/client{package}/__init__.py" for package in ("", "/api", "/models"))
_TAIL = """
def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib
    module, its_name = _HOMES[name]
    value = globals()[name] = getattr(importlib.import_module(module), its_name)
    return value
"""

# what nothing bundled imports
_STANDARD_LIBRARY = {
    *("__phello__", "__pycache__", "curses", "dbm", "dist-packages", "ensurepip", "idlelib", "lib-dynload"),
    *("lib2to3", "msilib", "pydoc_data", "sitecustomize.py", "sqlite3", "test", "tkinter", "turtle.py"),
    *("turtledemo", "venv", "xmlrpc"),
}
_EXTENSIONS = (
    *("_codecs_", "_crypt", "_ctypes_test", "_curses", "_dbm", "_gdbm", "_lsprof", "_sqlite3", "_test"),
    *("_tkinter", "_xx", "audioop", "nis", "ossaudiodev", "readline", "spwd", "xxlimited"),
)
_DISTRIBUTIONS = {"pycparser", "tzdata"}  # parses C; no zone but UTC is used
# cryptography wants cffi's extension only, and gRPC of Google's types google.rpc
_PACKAGES = (
    *("cffi", "google/api", "google/cloud", "google/gapic", "google/logging", "google/longrunning"),
    "google/type",
)
_FOLDERS = {"test", "tests"}
_TESTS = ("_benchmark", "_test")
_METADATA = {"METADATA", "entry_points.txt"}
# sources of extensions, types, and what is for people
_SUFFIXES = (".c", ".cpp", ".h", ".hash", ".md", ".proto", ".pxd", ".pxi", ".pyc", ".pyi", ".pyx", ".typed")


def is_wanted_module(name: str) -> bool:
    """Whether a file or folder of the standard library is bundled."""
    return name not in _STANDARD_LIBRARY and not name.startswith("config-3") and not name.endswith(_SUFFIXES)


def is_wanted_extension(name: str) -> bool:
    """Whether an extension of the standard library is bundled."""
    return not name.startswith(_EXTENSIONS)


def is_wanted_distribution(name: str) -> bool:
    """Whether a distribution is bundled, although something says that it needs it."""
    return name not in _DISTRIBUTIONS


def is_wanted_file(path: PurePath) -> bool:
    """Whether a file of a distribution is bundled."""
    if path.parts[0].endswith(".dist-info"):
        return path.name in _METADATA
    if path.suffix in _SUFFIXES or path.stem.endswith(_TESTS) or _FOLDERS.intersection(path.parts):
        return False
    return path.parts[0] != ".." and not any(path.is_relative_to(package) for package in _PACKAGES)


def lazy(source: str) -> str:
    """Return a package's `__init__` that imports its own modules only when a name of theirs is wanted."""
    module = ast.parse(source)
    homes, rest = dict[str, tuple[str, str]](), list[ast.stmt]()
    for statement in module.body:
        if isinstance(statement, ast.ImportFrom) and statement.module not in (None, "__future__"):
            homes |= {each.asname or each.name: (statement.module, each.name) for each in statement.names}
        else:
            rest.append(statement)
    module.body = rest
    return f"{ast.unparse(module)}\n_HOMES = {homes!r}\n{_TAIL}"


def make_lazy(site: Path) -> None:
    """Rewrite those packages in a folder of installed distributions."""
    for name in _LAZY:
        file = site / name
        file.write_text(lazy(file.read_text()))
