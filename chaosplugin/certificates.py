"""Certificates, their keys and authorities, all in PEM: read, and refused in words.

OpenSSL's own (`PEM lib (_ssl.c:3926)`) name no file and no reason, and gRPC would find out only when
somebody calls.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

File = str | Path
_DESCRIPTORS = "/proc/self/fd"
_NOT_ITS_KEY = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})
"""as OpenSSL says it of a key of the same kind, and of another kind"""


class BadCertificate(OSError):
    """It cannot be used; the text is one line for the operator, and names the file."""


def read_pair(certificate: File, key: File) -> tuple[bytes, bytes]:
    """Read a certificate chain and its key, which may be in the same file. Raises: BadCertificate."""
    chain, secret = _read(certificate), _read(key)
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), chain, secret, str(certificate), str(key))
    return chain, secret


def read_authorities(file: File) -> bytes:
    """Read the certificates of those who sign others'. Raises: BadCertificate."""
    found = _read(file)
    text_of(found, str(file))
    return found


def load_pair(
    context: ssl.SSLContext,
    chain: bytes,
    key: bytes,
    chain_name: str = "the certificate",
    key_name: str = "the key",
) -> None:
    """Let new connections show this certificate; its key touches no disk, if there is /proc.

    Raises: BadCertificate.
    """
    text_of(chain, chain_name)
    with _path_of(chain, chain_name) as chain_path, _path_of(key, key_name) as key_path:
        try:
            # An encrypted key would make OpenSSL ask at a terminal; with an answer given, it fails.
            context.load_cert_chain(chain_path, key_path, password=lambda: "-")
        except ssl.SSLError as error:
            raise BadCertificate(_words(error.reason, chain_name, key_name)) from None


def _words(reason: str | None, chain_name: str, key_name: str) -> str:
    if not reason:
        return f"{key_name} holds no key that can be read: wanted PEM, without a passphrase"
    if reason in _NOT_ITS_KEY:
        return f"{key_name} is not the key of {chain_name}"
    return f"{chain_name}: {reason.lower().replace('_', ' ')}"


def text_of(certificates: bytes, name: str) -> str:
    """Return them as Python's `ssl` takes them. Raises: BadCertificate."""
    text = certificates.decode("ascii", "ignore")  # what is not ASCII can only be a comment
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        raise BadCertificate(f"{name} holds no certificate in PEM") from None
    return text


def _read(file: File) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadCertificate(f"{file}: {error.strerror}") from None


@contextmanager
def _path_of(data: bytes, name: str) -> Iterator[str]:
    """Give a path to what is in memory, as OpenSSL reads files only. Raises: BadCertificate."""
    with ExitStack() as held:
        try:
            # a container may have no /proc
            path = _in_memory(data, held) if Path(_DESCRIPTORS).is_dir() else _on_disk(data, held)
        except OSError as error:
            raise BadCertificate(
                f"{name} cannot be handed to OpenSSL, which reads files only: {error.strerror}; "
                f"wanted /proc, or a folder for temporary files, such as an emptyDir at /tmp"
            ) from None
        yield path


def _in_memory(data: bytes, held: ExitStack) -> str:
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    held.callback(os.close, descriptor)
    path = f"{_DESCRIPTORS}/{descriptor}"
    Path(path).write_bytes(data)
    return path


def _on_disk(data: bytes, held: ExitStack) -> str:
    file = Path(held.enter_context(TemporaryDirectory(ignore_cleanup_errors=True)), "pem")
    file.touch(0o600)
    file.write_bytes(data)
    return str(file)
