"""Modules in a zip: found there as in a folder, and of no day."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from onefile import archive, bytecode


def _packed(folder: Path, files: Mapping[str, str]) -> Path:
    site = folder / "site"
    for name, text in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)
    bytecode.main(site)
    archive.pack(site)
    return site


def _names(site: Path) -> list[str]:
    with zipfile.ZipFile(f"{site}.zip") as packed:
        return packed.namelist()


def test_modules_go_into_the_zip_and_packages_that_want_files_stay(tmp_path: Path) -> None:
    site = _packed(
        tmp_path,
        {
            "single.py": "",
            "pure/__init__.py": "",
            "pure/inner/module.py": "",
            "native/__init__.py": "",
            "native/speedup.so": "",
            "certifi/__init__.py": "",
            "certifi/cacert.pem": "",
            "chaosplugin/__init__.py": "",
            "chaosplugin/rollout.yaml": "",
            "pure-1.0.dist-info/METADATA": "",
        },
    )

    stayed = sorted(str(path.relative_to(site)) for path in site.rglob("*") if path.is_file())
    assert stayed == [
        "certifi/__init__.pyc",
        "certifi/cacert.pem",
        "native/__init__.pyc",
        "native/speedup.so",
    ]
    assert _names(site) == [
        *("chaosplugin/", "chaosplugin/__init__.pyc", "chaosplugin/rollout.yaml"),
        *("pure/", "pure/__init__.pyc", "pure/inner/", "pure/inner/module.pyc"),
        *("pure-1.0.dist-info/", "pure-1.0.dist-info/METADATA", "single.pyc"),
    ]


def test_a_folder_of_nothing_but_modules_goes(tmp_path: Path) -> None:
    assert not _packed(tmp_path, {"single.py": ""}).exists()


_PROGRAM = """
from importlib import metadata, resources
import namespace.inner, pure
print(namespace.inner.__file__.endswith("site.zip/namespace/inner.pyc"))
print([point.name for point in metadata.entry_points(group="found.there")])
print(resources.files("chaosplugin").joinpath("rollout.yaml").read_text())
"""


def test_an_interpreter_finds_modules_entry_points_and_resources_in_it(tmp_path: Path) -> None:
    site = _packed(
        tmp_path,
        {
            "namespace/inner.py": "",
            "pure.py": "",
            "chaosplugin/__init__.py": "",
            "chaosplugin/rollout.yaml": "kind: Rollout",
            "pure-1.0.dist-info/METADATA": "Name: pure",
            "pure-1.0.dist-info/entry_points.txt": "[found.there]\none = pure:one\n",
        },
    )
    command = [sys.executable, "-S", "-c", _PROGRAM]
    environment = {**os.environ, "PYTHONPATH": f"{site}.zip"}
    said = subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True)

    assert said.stdout == "True\n['one']\nkind: Rollout\n"


def test_when_it_was_packed_leaves_no_trace(tmp_path: Path) -> None:
    site = _packed(tmp_path, {"pure/__init__.py": "", "single.py": "A = 1"})
    with zipfile.ZipFile(f"{site}.zip") as packed:
        days = {each.date_time for each in packed.infolist()}

    assert days == {(1980, 1, 1, 0, 0, 0)}
