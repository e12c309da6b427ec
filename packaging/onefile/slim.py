"""Leaves out what the plugin never loads, and makes one library load less.

kubernetes-asyncio imports 900 modules of models and APIs, 10 MB, for the one class of configuration that is
used. Here they stay behind, and its client looks a name up when it is asked for.
"""

import ast
from pathlib import Path, PurePath

_LAZY = ("kubernetes_asyncio/client/__init__.py", "kubernetes_asyncio/client/models/__init__.py")
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
    *("__phello__", "__pycache__", "_pydecimal", "_pyio", "aifc", "antigravity", "asynchat", "asyncore"),
    *("bdb", "cProfile", "cgi", "cgitb", "chunk", "colorsys", "compileall", "crypt", "curses", "dbm"),
    *("dist-packages", "distutils", "doctest", "ensurepip", "filecmp", "idlelib", "imaplib", "imghdr", "imp"),
    *("lib-dynload", "lib2to3", "mailbox", "mailcap", "modulefinder", "msilib", "nntplib", "pdb"),
    *("pickletools", "pipes", "poplib", "profile", "pstats", "pyclbr", "pydoc_data", "sched"),
    *("sitecustomize", "smtpd", "sndhdr", "sqlite3", "sunau", "symtable", "tabnanny", "telnetlib", "test"),
    *("this", "tkinter", "trace", "turtle", "turtledemo", "unittest", "venv", "wave", "xdrlib", "xml"),
    *("xmlrpc", "zipapp"),
}
_EXTENSIONS = (
    *("_codecs_", "_crypt", "_ctypes_test", "_curses", "_dbm", "_gdbm", "_lsprof", "_sqlite3", "_test"),
    *("_tkinter", "_xx", "audioop", "nis", "ossaudiodev", "readline", "spwd", "xxlimited"),
)
_DISTRIBUTIONS = {"pycparser", "tzdata"}  # parses C; no zone but UTC is used
# cryptography wants cffi's extension only, gRPC of Google's types google.rpc, and kubeconfigs no API
_PACKAGES = (
    *("cffi", "google/api", "google/cloud", "google/gapic", "google/logging", "google/longrunning"),
    *("google/type", "kubernetes_asyncio/client/api", "kubernetes_asyncio/leaderelection"),
)
_EMPTIED = PurePath("kubernetes_asyncio/client/models")  # is imported, nothing in it is asked for
_FOLDERS = {"test", "testdata", "tests"}
_TESTS = ("_benchmark", "_test", "pytest_plugin", "test_rest", "test_utils")
_MODULES = {".py", ".so"}
_METADATA = {"METADATA", "entry_points.txt"}
# sources of extensions, types, and what is for people or browsers
_SUFFIXES = (
    *(".c", ".cc", ".cpp", ".h", ".hash", ".js", ".md", ".proto", ".pxd", ".pxi", ".pyc", ".pyi", ".pyx"),
    *(".rst", ".txt", ".typed", "EXTERNALLY-MANAGED"),
)


def is_wanted_module(name: str) -> bool:
    """Whether a file or folder of the standard library is bundled."""
    module = name.removesuffix(".py")
    return (
        module not in _STANDARD_LIBRARY and not name.startswith("config-3") and not name.endswith(_SUFFIXES)
    )


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
    if len(path.parts) == 1 and path.suffix not in _MODULES:  # a licence, by mistake
        return False
    if path.suffix in _SUFFIXES or path.stem.endswith(_TESTS) or _FOLDERS.intersection(path.parts):
        return False
    if path.parent == _EMPTIED:
        return path.name == "__init__.py"
    return path.parts[0] != ".." and not any(path.is_relative_to(package) for package in _PACKAGES)


def lazy(source: str) -> str:
    """Return a package's `__init__` that imports its own modules only when a name of theirs is wanted.

    Names of modules that are left out are gone.
    """
    module = ast.parse(source)
    homes, rest = dict[str, tuple[str, str]](), list[ast.stmt]()
    for statement in module.body:
        if not isinstance(statement, ast.ImportFrom) or statement.module in (None, "__future__"):
            rest.append(statement)
        elif is_wanted_file(PurePath(f"{statement.module.replace('.', '/')}.py")):
            homes |= {each.asname or each.name: (statement.module, each.name) for each in statement.names}
    module.body = rest
    return f"{ast.unparse(module)}\n_HOMES = {homes!r}\n{_TAIL}"


def make_lazy(site: Path) -> None:
    """Rewrite those packages in a folder of installed distributions."""
    for name in _LAZY:
        file = site / name
        file.write_text(lazy(file.read_text()))
