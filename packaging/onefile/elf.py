"""Programs and shared libraries, of whatever CPU."""

import struct
from pathlib import Path

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

_MAGIC = b"\x7fELF"


def is_elf(data: bytes) -> bool:
    """Whether it is a program or a library."""
    return data.startswith(_MAGIC)


def needed(file: Path) -> list[str]:
    """Return the libraries that the dynamic loader must find for it, by name."""
    with file.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments():
            if isinstance(segment, DynamicSegment):
                return [str(tag.needed) for tag in segment.iter_tags("DT_NEEDED")]
    return []


def trimmed(data: bytes) -> bytes:
    """Leave out what is not loaded: symbols for the linker and debuggers, and the list of sections."""
    table, size, count = *struct.unpack_from("<Q", data, 32), *struct.unpack_from("<HH", data, 54)
    segments = (struct.unpack_from("<IIQQQQ", data, table + n * size) for n in range(count))
    end = max(offset + length for _, _, offset, _, _, length in segments)
    kept = bytearray(data[:end])
    struct.pack_into("<Q", kept, 40, 0)
    struct.pack_into("<HHH", kept, 58, 0, 0, 0)
    return bytes(kept)
