"""TLS contexts for API servers. Building one takes about 40 ms: do it in a thread."""

import os
import ssl
from pathlib import Path

from chaosplugin.kube.errors import NoCluster


def client_context(*, ca: bytes | None, verify: bool = True) -> ssl.SSLContext:
    """Trust the certificates of `ca` (PEM), or the system's if it is None.

    Raises:
        NoCluster: `ca` holds no certificate.
    """
    if ca is not None and not ca.strip():
        raise NoCluster("CA certificate: it is empty")
    try:
        context = ssl.create_default_context(cadata=ca.decode("ascii") if ca is not None else None)
    except (ssl.SSLError, ValueError) as error:
        raise NoCluster(f"CA certificate: {error}") from None
    # Newer Pythons ask for extensions which many clusters' own CAs lack, and which Go does not ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def load_client_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Let new connections show this certificate (PEM, key unencrypted); the key never touches a disk.

    Raises:
        NoCluster: the two are not a certificate and its key.
    """
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        Path(f"/proc/self/fd/{descriptor}").write_bytes(certificate + b"\n" + key)
        # An encrypted key would make OpenSSL ask at a terminal; with an answer given, it fails.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: "-")
    except (ssl.SSLError, OSError) as error:
        raise NoCluster(f"client certificate: {error}") from None
    finally:
        os.close(descriptor)
