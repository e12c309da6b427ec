"""Modules in one file instead of a thousand: what takes a first start most of its time is making files.

Stored and not deflated, so that imports inflate nothing, and the payload's compression sees through.
"""

import shutil
import zipfile
from pathlib import Path

_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first day that a zip knows
# what they bring besides modules is read by importlib, which looks into zips
_READ_BY_IMPORTLIB = ("chaosplugin", ".dist-info")


def pack(folder: Path) -> None:
    """Move modules into FOLDER.zip; where nothing is left, the folder goes.

    A package with extensions, or with data that it may want as a file, stays as it is.
    """
    moved = [entry for entry in sorted(folder.iterdir()) if _is_movable(entry)]
    with zipfile.ZipFile(folder.with_name(f"{folder.name}.zip"), "w") as archive:
        for entry in moved:
            for path in sorted([entry, *entry.rglob("*")]):
                _add(archive, path, path.relative_to(folder))
    for entry in moved:
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if not any(folder.iterdir()):
        folder.rmdir()


def _is_movable(entry: Path) -> bool:
    files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
    return entry.name.endswith(_READ_BY_IMPORTLIB) or all(file.suffix == ".pyc" for file in files)


def _add(archive: zipfile.ZipFile, path: Path, name: Path) -> None:
    """Add a file, or a folder: by these zipimport finds packages that have no `__init__`."""
    if path.is_dir():
        archive.writestr(zipfile.ZipInfo(f"{name}/", _LONG_AGO), b"")
    else:
        archive.writestr(zipfile.ZipInfo(str(name), _LONG_AGO), path.read_bytes())
