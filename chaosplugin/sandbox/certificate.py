"""A throwaway certificate for the embedded API server: kubectl shows its token to nobody without TLS."""

import ssl
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_LASTING = timedelta(days=365)  # the process ends long before
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "chaosplugin sandbox")])


def make(folder: Path, now: datetime) -> tuple[ssl.SSLContext, Path]:
    """Write a new certificate, and its key for its owner only; return how to serve, and whom to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + _LASTING)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "ca.crt", folder / "tls.key"
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    secret.touch(mode=0o600)
    secret.chmod(0o600)
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, secret)
    return context, certificate
