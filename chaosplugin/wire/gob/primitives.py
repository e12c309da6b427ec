"""Gob's numbers, the atoms of everything else.

    unsigned   0..127 one byte; else 256 - n (0xff for 1 byte .. 0xf8 for 8), then n bytes, big-endian
    signed     x << 1, or ~x << 1 | 1 if negative, as unsigned
    float      the bits of a float64 with the order of the bytes turned round, as unsigned

Readers take (buffer, position) and return (value, new position). They raise IndexError at the end of the
buffer, which `Decoder` turns into a RemoteProtocolError: a check at each byte would double the cost.

Source: Go's encoding/gob, doc.go and decode.go.
"""

import struct

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError

MAX_UINT = (1 << 64) - 1
MAX_INT = (1 << 63) - 1
MIN_INT = -(1 << 63)

_DOUBLE = struct.Struct("<d")


def read_uint(buf: bytes | bytearray, pos: int) -> tuple[int, int]:
    """Raises RemoteProtocolError for a first byte that no number has."""
    first = buf[pos]
    if first < 0x80:
        return first, pos + 1
    if first == 0xFF:  # of the others the most frequent: types, lengths, and the like
        return buf[pos + 1], pos + 2
    if first < 0xF8:
        raise RemoteProtocolError(
            f"gob: number begins with {first:#x}, wanted less than 0x80 or more than 0xf7"
        )
    end = pos + 257 - first
    if end > len(buf):
        raise IndexError
    return int.from_bytes(buf[pos + 1 : end]), end


def read_int(buf: bytes, pos: int) -> tuple[int, int]:
    """Read a signed number; 64 bits at most, as all numbers."""
    unsigned, pos = read_uint(buf, pos)
    return (~(unsigned >> 1) if unsigned & 1 else unsigned >> 1), pos


def read_float(buf: bytes, pos: int) -> tuple[float, int]:
    """Read a float64; Go sends float32 so too."""
    unsigned, pos = read_uint(buf, pos)
    value: float = _DOUBLE.unpack(unsigned.to_bytes(8))[0]
    return value, pos


def read_bytes(buf: bytes, pos: int) -> tuple[bytes, int]:
    """Read a length and that many bytes."""
    size = buf[pos]
    if size < 0x80:
        pos += 1
    else:
        size, pos = read_uint(buf, pos)
    end = pos + size
    if end > len(buf):
        raise IndexError
    return buf[pos:end], end


def read_string(buf: bytes, pos: int) -> tuple[str, int]:
    """Read a string; bytes that are not UTF-8 become lone surrogates and survive a round trip (PEP 383)."""
    size = buf[pos]
    if size < 0x80:
        pos += 1
    else:
        size, pos = read_uint(buf, pos)
    end = pos + size
    if end > len(buf):
        raise IndexError
    data = buf[pos:end]
    try:
        return data.decode(), end
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape"), end


def write_uint(out: bytearray, value: int) -> None:
    """Append an unsigned number; raises LocalProtocolError if it has more than 64 bits or is negative."""
    if 0 <= value < 0x80:
        out.append(value)
        return
    if not 0 <= value <= MAX_UINT:
        raise LocalProtocolError(f"gob: {value} is no 64-bit unsigned integer")
    size = (value.bit_length() + 7) // 8
    out.append(256 - size)
    out += value.to_bytes(size)


def write_int(out: bytearray, value: int) -> None:
    """Append a signed number; raises LocalProtocolError if it has more than 64 bits."""
    if not MIN_INT <= value <= MAX_INT:
        raise LocalProtocolError(f"gob: {value} is no 64-bit integer")
    write_uint(out, ~value << 1 | 1 if value < 0 else value << 1)


def write_float(out: bytearray, value: float) -> None:
    """Append a float64."""
    write_uint(out, int.from_bytes(_DOUBLE.pack(value)))


def write_bytes(out: bytearray, value: bytes | bytearray) -> None:
    """Append a length and that many bytes."""
    size = len(value)
    if size < 0x80:
        out.append(size)
    else:
        write_uint(out, size)
    out += value


def write_string(out: bytearray, value: str) -> None:
    """Raises LocalProtocolError for a surrogate that `read_string` did not make."""
    try:
        data = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise LocalProtocolError("gob: a string holds a lone surrogate") from error
    write_bytes(out, data)
