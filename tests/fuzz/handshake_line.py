"""The handshake: any line is an address or refused, any environment is negotiated or refused."""

from collections.abc import Iterator

from chaosplugin.wire import handshake
from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.handshake import Kind

TOKENS = (b"|", b"unix", b"netrpc", b"tcp", b"\n", b"1|1|", b"@", b"metricprovider", b",", b"\xc2\xa0")


def check(data: bytes) -> None:
    """The text is a line, a path, and three variables of the environment."""
    text = data.decode("utf-8", "surrogateescape")
    refusal = ""
    try:
        address = handshake.parse(text)
        assert address.network == "unix"
        assert address.version == handshake.APP_VERSION
    except RemoteProtocolError as error:
        refusal = str(error)
    assert len(refusal) < 2000
    try:
        line = handshake.line(text)
        assert line.count("\n") == 1
        if len(line) <= handshake.MAX_LINE:
            assert handshake.parse(line).address == text
    except LocalProtocolError:
        assert not handshake.usable(text)
    variables = text.replace("\0", "").split("\n", 2)
    environ = dict(
        zip((handshake.COOKIE_KEY, "PLUGIN_PROTOCOL_VERSIONS", "PLUGIN_CLIENT_CERT"), variables, strict=False)
    )
    assert handshake.cookie(environ) in (None, *Kind)
    try:
        assert handshake.negotiate(environ).version == handshake.APP_VERSION
    except LocalProtocolError:
        assert environ["PLUGIN_CLIENT_CERT"]


def seeds() -> Iterator[bytes]:
    yield handshake.line("/tmp/plugin1/plugin2").encode()  # noqa: S108  a name on the wire, no file
    yield b"1|1|tcp|127.0.0.1:1234|grpc|Y2VydA\n"
    yield b"1|1|unix|/a"
    for kind in Kind:
        yield "\n".join(handshake.client_environment(kind).values()).encode()
    yield b"metricprovider\n1,2,x\n"
