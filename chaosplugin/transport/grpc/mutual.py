"""go-plugin's AutoMTLS: host and plugin show each other throwaway certificates, and believe no other.

Go makes them of P-521, which gRPC's own TLS library does not speak; so the TLS is Python's, in front of the
plugin's socket, and a connection that has passed goes on to a second one in the same private folder.

Source: mtls.go and server.go of hashicorp/go-plugin v1.7.0.
"""

import asyncio
import base64
import os
import ssl
from contextlib import suppress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from chaosplugin import certificates
from chaosplugin.transport.folder import share

_CHUNK = 64 << 10
_HANDSHAKE_S = 10.0
_LASTING = timedelta(days=30 * 365)  # as long as go-plugin's: the process ends long before
_NAME = x509.Name(
    [
        x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost"),
        x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "chaosplugin"),
    ]
)


class Identity:
    """Our certificate and key, made anew in each process."""

    def __init__(self, now: datetime) -> None:
        self._key = ec.generate_private_key(ec.SECP521R1())
        usage = x509.KeyUsage(
            digital_signature=True,
            key_encipherment=True,
            key_agreement=True,
            key_cert_sign=True,
            content_commitment=False,
            data_encipherment=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(_NAME)
            .issuer_name(_NAME)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(seconds=30))
            .not_valid_after(now + _LASTING)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA512())
        )

    @property
    def announced(self) -> str:
        """As it stands in the handshake line: base64 of the DER, without padding."""
        return base64.b64encode(self._certificate.public_bytes(Encoding.DER)).decode().rstrip("=")

    def context(self, client: str) -> ssl.SSLContext:
        """Show our certificate, and want the host's (PEM).

        Raises: ssl.SSLError, ValueError, for what is no certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client)
        context.set_alpn_protocols(["h2"])
        key = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        certificates.load_pair(context, self._certificate.public_bytes(Encoding.PEM), key)
        return context


class Front:
    """The socket that the host connects to; `behind` is the one of the gRPC server."""

    def __init__(self, path: str, behind: str, context: ssl.SSLContext, group: int | None = None) -> None:
        self._path, self._behind, self._context, self._group = path, behind, context, group
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. Raises: OSError."""
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(
                self._serve,
                self._path,
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE_S,
                ssl_shutdown_timeout=1.0,
            )
        finally:
            os.umask(before)
        if self._group is not None:
            share(self._path, self._group)

    def close(self) -> None:
        """Take no more connections; those that are open end with the server behind."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            behind, to_behind = await asyncio.open_unix_connection(self._behind)
            async with asyncio.TaskGroup() as tasks:
                _ = tasks.create_task(_pump(reader, to_behind))
                _ = tasks.create_task(_pump(behind, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # either end may go at any time
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()
