"""What `make dist` lays into dist/, besides the one file itself."""

import hashlib
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chaosplugin import __version__
from tests.packaging import release

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
_LARGEST = 25_000_000
_ON_DISK = 95_000_000
_FILES = 400


def _sbom() -> dict[str, Any]:
    file = release.file()
    read: dict[str, Any] = json.loads(file.with_name(f"{file.name}.cdx.json").read_text())
    return read


def _components() -> dict[str, dict[str, Any]]:
    return {component["name"]: component for component in _sbom()["components"]}


def test_the_file_stays_within_its_budget() -> None:
    assert release.file().stat().st_size <= _LARGEST


def test_file_and_tree_stay_within_the_disks_budget() -> None:
    tree = Path("build", "onefile", f"tree-{release.cpu()}")
    files = [file for file in tree.rglob("*") if file.is_file()]
    taken = sum(-(-file.stat().st_size // 4096) * 4096 for file in files)

    assert taken + release.file().stat().st_size <= _ON_DISK
    assert len(files) <= _FILES  # a first start on a busy disk is as slow as they are many


def test_the_sums_are_right_and_name_every_file() -> None:
    folder = release.file().parent
    lines = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]

    assert {name for _, name in lines} == {f.name for f in folder.iterdir() if f.is_file()} - {"SHA256SUMS"}
    for digest, name in lines:
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()


def test_the_bill_of_materials_is_cyclonedx() -> None:
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 - installed for `make dist` only
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(_sbom())) is None


def test_it_names_the_file_and_each_part_with_its_licence() -> None:
    sbom, components = _sbom(), _components()
    digest = hashlib.sha256(release.file().read_bytes()).hexdigest()

    assert sbom["metadata"]["component"]["version"] == __version__
    assert sbom["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert {"libc6", "libpython3.11", "libssl3", "musl", "zstd", "aiohttp", "msgspec"} <= set(components)
    assert all(component["licenses"][0]["expression"] for component in components.values())


def test_every_library_and_package_in_the_tree_is_named() -> None:
    tree = Path("build", "onefile", f"tree-{release.cpu()}")
    components = set(_components())
    with zipfile.ZipFile(tree / "site.zip") as site:
        folders = {name.partition("/")[0] for name in site.namelist()}
    packages = {name.split("-")[0].lower() for name in folders if name.endswith(".dist-info")}
    root = Path("build", "onefile", f"debian-{release.cpu()}")
    homes = {name: _package(root, name) for name in (file.name for file in (tree / "lib").iterdir())}

    assert len(packages) > 30
    assert packages - {"chaosplugin"} <= {name.replace("-", "_").lower() for name in components}
    assert set(homes.values()) <= components


def _package(root: Path, library: str) -> str:
    """Return which of Debian's packages has a library, by what dpkg calls them."""
    names = dict.fromkeys(("ld-linux", "libc", "libdl", "libm", "libpthread", "libresolv", "librt"), "libc6")
    names |= {"libgcc_s": "libgcc-s1", "libstdc++": "libstdc++6", "libcrypto": "libssl3", "libssl": "libssl3"}
    names |= {"libpython3": "libpython3.11", "libz": "zlib1g", "libffi": "libffi8", "libuuid": "libuuid1"}
    names |= {"libexpat": "libexpat1", "libbz2": "libbz2-1.0", "liblzma": "liblzma5"}
    stem = library.split(".", maxsplit=1)[0].removesuffix("-x86-64").removesuffix("-aarch64")
    assert list(root.rglob(library)), library
    return names[stem]


def test_licences_travel_in_the_file() -> None:
    text = Path("build", "onefile", f"tree-{release.cpu()}", "LICENSES.txt").read_text()

    assert text == (release.file().parent / "LICENSES.txt").read_text()
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in text.upper() or "GNU Lesser General Public License" in text
    assert "GCC RUNTIME LIBRARY EXCEPTION" in text.upper()
    assert "musl as a whole is licensed under" in text


def test_wheel_and_sources_carry_the_same_version() -> None:
    folder = release.file().parent
    wheel = folder / f"chaosplugin-{__version__}-py3-none-any.whl"
    sources = folder / f"chaosplugin-{__version__}.tar.gz"
    with zipfile.ZipFile(wheel) as opened:
        metadata = opened.read(f"chaosplugin-{__version__}.dist-info/METADATA").decode()
    with tarfile.open(sources) as archive:
        names = archive.getnames()

    assert f"\nVersion: {__version__}\n" in metadata
    assert f"chaosplugin-{__version__}/packaging/launcher/launcher.c" in names
