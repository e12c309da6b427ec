"""The tree as the launcher reads it: launcher/payload.h describes the format.

Nothing of it depends on when, where or by whom it was built.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

_MAGIC = b"chaosplugin-one1"
_TRAILER = struct.Struct("<16sQQQQ32s32s16x")
_LEVEL = 19
_WINDOW = 23  # 8 MiB, which the launcher holds in memory; twice as much saves 1 %
_BLOCK = 4096
LARGEST = 25_000_000


def write(launcher: Path, tree: Path, out: Path) -> None:
    """Write the one file.

    Raises: ValueError, when it is larger than anybody should have to download.
    """
    files = sorted(file.relative_to(tree) for file in tree.rglob("*") if not file.is_dir())
    manifest = "".join(_line(tree, file) for file in files).encode()
    payload = _compressed(b"".join(_records(tree, files, manifest)))
    taken = sum(-(-(tree / file).stat().st_size // _BLOCK) * _BLOCK for file in files)
    _join(launcher, Payload(payload, len(files), taken, _digest(manifest)), out)
    if (size := out.stat().st_size) > LARGEST:
        raise ValueError(f"{out.name} has {size} bytes, wanted at most {LARGEST}")


@dataclass(frozen=True, slots=True)
class Payload:
    """`taken` is what the files take on a disk."""

    data: bytes
    files: int
    taken: int
    manifest_digest: bytes


def relaunched(file: Path, launcher: Path, out: Path) -> None:
    """Write the payload of a file behind another launcher."""
    whole = file.read_bytes()
    _, offset, size, files, taken, _, manifest = _TRAILER.unpack(whole[-_TRAILER.size :])
    _join(launcher, Payload(whole[offset : offset + size], files, taken, manifest), out)


def _join(launcher: Path, payload: Payload, out: Path) -> None:
    program = launcher.read_bytes()
    program += bytes(-len(program) % _BLOCK)
    numbers = (len(program), len(payload.data), payload.files, payload.taken)
    trailer = _TRAILER.pack(_MAGIC, *numbers, _digest(payload.data), payload.manifest_digest)
    out.write_bytes(program + payload.data + trailer)
    out.chmod(0o755)


def _line(tree: Path, file: Path) -> str:
    data = (tree / file).read_bytes()
    return f"{len(data)} {_digest(data).hex()} {file}\n"


def _records(tree: Path, files: list[Path], manifest: bytes) -> Iterator[bytes]:
    folders = {parent for file in files for parent in file.parents if parent != Path()}
    for folder in sorted(folders):
        yield _record("d", folder, b"")
    yield _record("f", Path(".manifest"), manifest)
    for file in files:
        kind = "x" if (tree / file).stat().st_mode & 0o100 else "f"
        yield _record(kind, file, (tree / file).read_bytes())
    yield bytes(16)


def _record(kind: str, name: Path, data: bytes) -> bytes:
    encoded = str(name).encode()
    return struct.pack("<QHc5x", len(data), len(encoded), kind.encode()) + encoded + data


def _compressed(content: bytes) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=_WINDOW, enable_ldm=True, write_checksum=True, write_content_size=True
    )
    compressed: bytes = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
    return compressed


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()
