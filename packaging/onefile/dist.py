"""The folder that builds end in, which somebody may also use for something else."""

import hashlib
import shutil
from pathlib import Path

SUMS = "SHA256SUMS"
_OURS = ("chaosplugin-", "LICENSES.txt", "NOTES.md")


def publish(made: Path, folder: Path, *, whole: bool) -> None:
    """Move what was made into a folder, and write there what `sha256sum --check` reads.

    What an earlier build has left there, by its sums, stays beside it, unless this one was the `whole`: then
    it goes. What no build has made is not touched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    new = {file.name: _digest(file) for file in made.iterdir()}
    left = {name: digest for name, digest in _read_sums(folder).items() if name not in new}
    for name in left if whole else ():
        (folder / name).unlink()
    for name in new:
        shutil.move(made / name, folder / name)
    sums = new if whole else {**left, **new}
    (folder / SUMS).write_text("".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def _read_sums(folder: Path) -> dict[str, str]:
    """Return what is there of an earlier build; SHA256SUMS may be another program's."""
    sums = folder / SUMS
    lines = sums.read_text().splitlines() if sums.is_file() else ()
    entries = (line.split("  ", 1) for line in lines if "  " in line)
    return {name: digest for digest, name in entries if _is_ours(folder, name)}


def _is_ours(folder: Path, name: str) -> bool:
    return name.startswith(_OURS) and "/" not in name and (folder / name).is_file()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
