"""Where a server of the gRPC API listens, and where it is reached: text in, text out, no gRPC."""

from typing import NamedTuple

_SUN_PATH = 108  # bytes on Linux, with a NUL at the end
_UNIX = "unix://"
_CLOSED = "--tls-cert, --tls-key, and --client-ca or --token-review"


class BadAddress(Exception):
    """No address, or options that do not go together; the text says what is wanted."""


class Address(NamedTuple):
    """A unix socket (`path`), or TCP (`host` and `port`)."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def local(self) -> bool:
        """Reached only from this machine, or this pod."""
        if self.path or self.host == "localhost":
            return True
        from ipaddress import ip_address  # noqa: PLC0415 - 5 ms that a plugin's handshake need not wait for

        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def target(self) -> str:
        """As gRPC writes it."""
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse(text: str) -> Address:
    """Read `unix:///PATH`, `HOST:PORT` or `[IPV6]:PORT`.

    Raises: BadAddress.
    """
    if text.startswith(_UNIX):
        return _unix(text.removeprefix(_UNIX))
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    bare = ":" in host and not text.startswith("[")
    if not (host and colon and port.isascii() and port.isdecimal() and int(port) < 1 << 16) or bare:
        raise BadAddress(f"{text[:100]!r}: wanted unix:///PATH, HOST:PORT or [IPV6]:PORT")
    if "/" in host or not host.isprintable() or " " in host:
        raise BadAddress(f"{text[:100]!r}: no host can be called that")
    return Address(host=host, port=int(port))


def _unix(path: str) -> Address:
    if not path.startswith("/") or not path.isprintable():
        raise BadAddress(
            f"{_UNIX}{path[:100]!r}: wanted an absolute path, as in unix:///run/chaosplugin/socket"
        )
    if len(path.encode()) >= _SUN_PATH:
        raise BadAddress(f"{_UNIX}{path[:40]}...: a socket's path has at most {_SUN_PATH - 1} bytes")
    return Address(path=path)


class Target(NamedTuple):
    """A server, and what a client shows to it. Files are read again when they change."""

    address: Address
    ca: str | None = None
    """file with the certificates that the server's is signed by; None: no TLS, or the system's"""
    certificate: str | None = None
    key: str | None = None
    token_file: str | None = None
    """a Kubernetes token; never sent without TLS, except to this machine"""
    server_name: str | None = None
    """the name in the server's certificate, where it is not the host"""
    plain: bool = False
    """no TLS"""

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken: always over a network, unless that was forced off."""
        if self.address.path or self.plain:
            return False
        return not self.address.local or self.ca is not None

    def refusal(self) -> str:
        """Say what is wrong with the combination, "" for nothing."""
        if not (self.address.path or self.address.port):
            return f"{self.address.target}: no server is reached at port 0"
        if (self.certificate is None) != (self.key is None):
            return "--cert and --key go together"
        if self.certificate is not None and not self.secure:
            return "--cert and --key are for TLS, which this address does without: add --ca"
        if self.token_file is not None and not self.secure and not self.address.local:
            return "--token-file: a token is not sent over a network without TLS"
        return ""


class Listening(NamedTuple):
    """Where a server listens, whom it believes, and how it lives.

    With a client CA it is the names in certificates that count, with `review_tokens` those of Kubernetes.
    """

    addresses: tuple[Address, ...]
    certificate: str | None = None
    key: str | None = None
    client_ca: str | None = None
    review_tokens: bool = False
    audiences: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    """NAME, or NAME=NAMESPACE,NAMESPACE"""
    socket_group: int | None = None
    """may use the unix sockets, too"""
    insecure: bool = False
    lease: str = ""
    """NAMESPACE/NAME of the Lease under which one of several servers sweeps; "": in our own namespace"""
    drain_s: float = 20.0
    """how long calls that are under way are waited for at the end"""

    def refusal(self) -> str:
        """Say what is wrong with the combination, "" for nothing."""
        network = [address.target for address in self.addresses if not address.local]
        names = self.client_ca is not None or self.review_tokens
        closed = self.certificate is not None and names
        wrong = (
            ((self.certificate is None) != (self.key is None), "--tls-cert and --tls-key go together"),
            (
                self.client_ca is not None and self.certificate is None,
                "--client-ca wants --tls-cert and --tls-key",
            ),
            (
                any(not entry.strip("=,") or entry.endswith("=") for entry in self.allowed),
                "--allow-client wants NAME, or NAME=NAMESPACE,NAMESPACE",
            ),
            (names and not self.allowed, "nobody may call: name those who may by --allow-client"),
            (
                bool(self.allowed) and not names,
                "--allow-client wants to know who calls: add --client-ca or --token-review",
            ),
            (
                bool(network) and not closed and not self.insecure,
                f"{', '.join(network)} can be reached by others: add {_CLOSED} (or force it by --insecure)",
            ),
        )
        return next((text for met, text in wrong if met), "")
