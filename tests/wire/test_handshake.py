import pytest

from chaosplugin.wire import handshake
from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.handshake import Kind


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("metricprovider", Kind.METRIC),
        ("step", Kind.STEP),
        ("trafficrouter", None),
        ("Metricprovider", None),
        ("", None),
    ],
)
def test_the_cookie_tells_what_the_host_wants(value: str, kind: Kind | None) -> None:
    assert handshake.cookie({"ARGO_ROLLOUTS_RPC_PLUGIN": value}) is kind


def test_no_cookie_no_host() -> None:
    assert handshake.cookie({"PATH": "/bin"}) is None


def test_the_line_is_the_one_that_go_prints() -> None:
    assert handshake.line("/tmp/plugin123456789") == "1|1|unix|/tmp/plugin123456789|netrpc|\n"  # noqa: S108


@pytest.mark.parametrize("path", ["/tmp/a|b", "@abstract", " /tmp/a", "/tmp/a\nb", "/tmp/a\n", "/tmp/\x00a"])  # noqa: S108
def test_a_path_that_the_host_would_read_wrongly_is_refused(path: str) -> None:
    with pytest.raises(LocalProtocolError, match="cannot stand in a handshake line"):
        handshake.line(path)


@pytest.mark.parametrize(
    ("offer", "complaints"),
    [("1", 0), ("2,1,3", 0), ("7", 0), (None, 0), ("", 0), ("x", 1), ("1,two,,3", 2), ("-1", 1), ("²", 1)],
)
def test_version_1_is_announced_whatever_is_offered(offer: str | None, complaints: int) -> None:
    environ = {} if offer is None else {"PLUGIN_PROTOCOL_VERSIONS": offer}
    chosen = handshake.negotiate(environ)

    assert (chosen.version, len(chosen.complaints)) == (1, complaints)
    assert all("PLUGIN_PROTOCOL_VERSIONS" in c for c in chosen.complaints)


def test_a_host_that_wants_tls_is_told_that_there_is_none() -> None:
    with pytest.raises(LocalProtocolError, match="AutoMTLS"):
        handshake.negotiate({"PLUGIN_CLIENT_CERT": "-----BEGIN CERTIFICATE-----"})


@pytest.mark.parametrize("kind", Kind)
def test_what_a_host_sets_is_what_a_plugin_reads(kind: Kind) -> None:
    environ = handshake.client_environment(kind)

    assert handshake.cookie(environ) is kind
    assert handshake.negotiate(environ) == (1, [], "")


@pytest.mark.parametrize(
    "line",
    ["1|1|unix|/a/b|netrpc|\n", "1|1|unix|/a/b|netrpc", "1|1|unix|/a/b\r\n", " 1|1|unix|/a/b|netrpc||true\n"],
)
def test_a_host_reads_the_address(line: str) -> None:
    assert handshake.parse(line).address == "/a/b"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "not a handshake line"),
        ("hello\n", "not a handshake line: 'hello"),
        ("1|1|unix\n", "not a handshake line"),
        ("2|1|unix|/a|netrpc|", "go-plugin version '2', only 1"),
        ("1|2|unix|/a|netrpc|", "plugin version '2', only 1"),
        ("1|1|tcp|127.0.0.1:1234|netrpc|", "network 'tcp', only unix"),
        ("1|1|unix|/a|grpc|", "protocol 'grpc', only netrpc"),
        ("1|1|unix|/a|netrpc|MIIB", "certificate"),
        ("x" * 100_000, "not a handshake line"),
    ],
)
def test_a_host_refuses_what_it_does_not_speak(line: str, said: str) -> None:
    with pytest.raises(RemoteProtocolError, match=r"^.{0,260}$") as caught:
        handshake.parse(line)
    assert said in str(caught.value)
