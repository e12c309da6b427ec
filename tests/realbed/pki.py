"""A certificate authority, certificates for servers and clients, and a key to sign ServiceAccount tokens."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_NAMES = ("localhost", "kubernetes.default.svc")
_DAY = timedelta(days=1)


def make(folder: Path) -> None:
    """Write ca.crt, ca.key, tls.crt (for 127.0.0.1), tls.key and sa.key to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _begin("bed-ca").issuer_name(_name("bed-ca")).public_key(key.public_key())
    authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = authority.sign(key, hashes.SHA256())
    _write_key(folder / "ca.key", key)
    (folder / "ca.crt").write_bytes(signed.public_bytes(Encoding.PEM))
    _certify(folder, "tls", _begin("bed").add_extension(_valid_for(*_NAMES), critical=False))
    _write_key(folder / "sa.key", rsa.generate_private_key(65537, 2048))


def make_client(folder: Path, name: str) -> tuple[bytes, bytes]:
    """Return a client certificate for a name, and its key, by the authority that `make` wrote."""
    _certify(folder, name, _begin(name))
    return (folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes()


def make_server(folder: Path, name: str) -> tuple[bytes, bytes]:
    """Return a server's certificate for a name, and its key, by that authority."""
    _certify(folder, name, _begin(name).add_extension(_valid_for(name), critical=False))
    return (folder / f"{name}.crt").read_bytes(), (folder / f"{name}.key").read_bytes()


def _valid_for(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, names)])


def _certify(folder: Path, file: str, begun: x509.CertificateBuilder) -> None:
    authority = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
    signer = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    signed = begun.issuer_name(authority.subject).public_key(key.public_key()).sign(signer, hashes.SHA256())
    (folder / f"{file}.crt").write_bytes(signed.public_bytes(Encoding.PEM))
    _write_key(folder / f"{file}.key", key)


def _begin(name: str) -> x509.CertificateBuilder:
    now = datetime.now(UTC)  # noqa: TID251 - certificates are valid by the wall clock
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _write_key(path: Path, key: Key) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
