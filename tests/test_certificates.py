"""Certificates and keys that a server is given: read, or refused in words."""

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from chaosplugin import certificates
from chaosplugin.certificates import BadCertificate
from tests.realbed import pki


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.make(tmp_path)
    return tmp_path


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def spoil(file: Path) -> None:
    file.write_text("no PEM, but a proxy's page\n")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def replace_by_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def encrypt(file: Path) -> None:
    """Protect a key by a passphrase, for which nobody may be asked."""
    command = ["openssl", "ec", "-in", str(file), "-aes256", "-passout", "pass:secret", "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)


def exchange(file: Path) -> None:
    """Give a key of another certificate."""
    pki.make_client(file.parent, "other")
    (file.parent / "other.key").replace(file)


def exchange_by_another_kind(file: Path) -> None:
    (file.parent / "sa.key").replace(file)  # RSA


def weaken(file: Path) -> None:
    """Certify a key that OpenSSL finds too short."""
    key = ["-newkey", "rsa:1024", "-nodes", "-keyout", str(file.with_suffix(".key"))]
    command = ["openssl", "req", "-x509", *key, "-subj", "/CN=weak", "-out", str(file)]
    subprocess.run(command, check=True, capture_output=True)


_NO_CERTIFICATE = "{} holds no certificate in PEM"
_NO_KEY = "{} holds no key that can be read: wanted PEM, without a passphrase"


@pytest.mark.parametrize(
    ("name", "harm", "words"),
    [
        ("tls.crt", remove, "{}: No such file or directory"),
        ("tls.crt", replace_by_folder, "{}: Is a directory"),
        ("tls.crt", empty, _NO_CERTIFICATE),
        ("tls.crt", spoil, _NO_CERTIFICATE),
        ("tls.crt", cut, _NO_CERTIFICATE),
        ("tls.key", remove, "{}: No such file or directory"),
        ("tls.key", empty, _NO_KEY),
        ("tls.key", spoil, _NO_KEY),
        ("tls.key", cut, _NO_KEY),
        ("tls.key", encrypt, _NO_KEY),
        ("tls.key", exchange, "{} is not the key of {}"),
        ("tls.key", exchange_by_another_kind, "{} is not the key of {}"),
        ("tls.crt", weaken, "{}: ee key too small"),
    ],
)
def test_what_is_no_pair_is_told_by_its_file(
    folder: Path, name: str, harm: Callable[[Path], None], words: str
) -> None:
    harm(folder / name)

    with pytest.raises(BadCertificate) as caught:
        certificates.read_pair(folder / "tls.crt", folder / "tls.key")

    assert str(caught.value) == words.format(folder / name, folder / "tls.crt")


@pytest.mark.parametrize(
    ("harm", "words"),
    [(remove, "{}: No such file or directory"), (empty, _NO_CERTIFICATE), (spoil, _NO_CERTIFICATE)],
)
def test_what_is_no_authority_is_told_by_its_file(
    folder: Path, harm: Callable[[Path], None], words: str
) -> None:
    harm(folder / "ca.crt")

    with pytest.raises(BadCertificate) as caught:
        certificates.read_authorities(folder / "ca.crt")

    assert str(caught.value) == words.format(folder / "ca.crt")


def test_what_belongs_together_is_returned_as_it_stands_in_the_files(folder: Path) -> None:
    chain, key = certificates.read_pair(folder / "tls.crt", folder / "tls.key")

    assert chain == (folder / "tls.crt").read_bytes()
    assert key == (folder / "tls.key").read_bytes()
    assert certificates.read_authorities(folder / "ca.crt") == (folder / "ca.crt").read_bytes()


def test_where_there_is_no_proc_a_pair_is_read_and_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As in a container of which nobody has mounted it."""
    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.setattr(certificates, "_DESCRIPTORS", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    assert certificates.read_pair(folder / "tls.crt", folder / "tls.key")
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("why", ["No usable temporary directory found", "Not a directory"])
def test_where_there_is_neither_proc_nor_a_folder_for_files_it_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """As in an image from scratch with a read-only root: it ended in an OSError that nobody caught."""
    monkeypatch.setattr(certificates, "_DESCRIPTORS", "/nowhere")
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tls.key") if why[:3] == "Not" else None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(folder / "nowhere")])

    with pytest.raises(BadCertificate) as caught:
        certificates.read_pair(folder / "tls.crt", folder / "tls.key")

    said = str(caught.value)
    assert said.startswith(f"{folder / 'tls.crt'} cannot be handed to OpenSSL, which reads files only: {why}")
    assert said.endswith("; wanted /proc, or a folder for temporary files, such as an emptyDir at /tmp")


def test_an_authority_may_be_commented_in_any_language(folder: Path) -> None:
    file = folder / "ca.crt"
    file.write_bytes("# Főtanúsítvány\n".encode() + file.read_bytes() + "# für alle\n".encode("latin-1"))

    assert certificates.read_authorities(file) == file.read_bytes()
