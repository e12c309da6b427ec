"""A certificate authority, a server certificate for 127.0.0.1, and a key to sign ServiceAccount tokens."""

import subprocess
from pathlib import Path

_EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:kubernetes.default.svc\n"


def make(folder: Path) -> None:
    """Write ca.crt, ca.key, tls.crt, tls.key and sa.key to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)

    def openssl(*command: str) -> None:
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)

    authority = ("-days", "30", "-subj", "/CN=bed-ca", "-keyout", "ca.key", "-out", "ca.crt")
    openssl("req", "-x509", *_EC, *authority)
    (folder / "san").write_text(_NAMES)
    openssl("req", *_EC, "-subj", "/CN=bed", "-keyout", "tls.key", "-out", "tls.csr")
    signing = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30", "-extfile", "san")
    openssl("x509", "-req", "-in", "tls.csr", *signing, "-out", "tls.crt")
    openssl("genrsa", "-out", "sa.key", "2048")
