"""What the one file is made of, part by part, each with its licence."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.licenses import canonicalize_license_expression

from onefile.debian import PACKAGES, Deb

# what these wheels say in words
_IN_SPDX = {"Apache 2.0": "Apache-2.0", "3-Clause BSD License": "BSD-3-Clause"}


@dataclass(frozen=True, slots=True)
class Part:
    """`license` is an SPDX expression, `text` the licence itself, as its authors ship it."""

    name: str
    version: str
    license: str
    purl: str
    text: str
    sha256: str = ""


def of_debian(debs: Iterable[Deb], root: Path) -> Iterator[Part]:
    """Yield Debian's packages, less those that only build."""
    for deb in debs:
        if terms := PACKAGES[deb.name]:
            purl = f"pkg:deb/debian/{deb.name}@{deb.version}?arch={deb.target}&distro=bookworm"
            text = (root / "usr" / "share" / "doc" / deb.name / "copyright").read_text()
            yield Part(deb.name, deb.version, terms, purl, text, deb.sha256)


def of_python(distributions: Iterable[metadata.Distribution]) -> Iterator[Part]:
    """Yield the wheels, the plugin's own too.

    Raises: InvalidLicenseExpression, when one does not say its terms: look them up, and name them here.
    """
    for distribution in distributions:
        said = distribution.metadata["License-Expression"] or distribution.metadata["License"]
        terms = canonicalize_license_expression(_IN_SPDX.get(said, said))
        purl = f"pkg:pypi/{distribution.name.lower().replace('_', '-')}@{distribution.version}"
        yield Part(distribution.name, distribution.version, terms, purl, _license_text(distribution))


def _license_text(distribution: metadata.Distribution) -> str:
    names = {*distribution.metadata.get_all("License-File", [])}
    found = (entry for entry in distribution.files or () if ".dist-info" in entry.parts[0])
    texts = [entry.read_text() for entry in found if entry.name in names or "licenses" in entry.parts]
    return "\n".join(texts)


def of_launcher(zstd: Path, ziglang: Path, versions: Mapping[str, str]) -> Iterator[Part]:
    """Yield what is linked into the launcher."""
    version = versions["zstandard"]
    text = (zstd / "LICENSE").read_text()
    yield Part("zstd", version, "BSD-3-Clause", f"pkg:pypi/zstandard@{version}#zstd", text)
    version = versions["ziglang"]
    text = (ziglang / "lib" / "libc" / "musl" / "COPYRIGHT").read_text()
    yield Part("musl", version, "MIT", f"pkg:pypi/ziglang@{version}#lib/libc/musl", text)


def licences(parts: Iterable[Part]) -> str:
    """Return the text that travels with the file."""
    return "\n".join(
        f"{'=' * 80}\n{part.name} {part.version}: {part.license}\n\n{part.text}" for part in parts
    )
