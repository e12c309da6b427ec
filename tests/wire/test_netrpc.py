import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.gob import gotypes
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import GoType, Interface, Struct
from chaosplugin.wire.gob.shapes import (
    ANY,
    BOOL,
    INT,
    NO_INTERFACE,
    SKIP,
    STRING,
    InterfaceShape,
    Named,
    StructShape,
)
from chaosplugin.wire.netrpc import MAX_METHOD, NEED_DATA, Call, Client, Method, Refused, Reply, Server
from tests.wire.vectors import Vector, agrees, streams

RUN_ARGS = Struct("RunArgs", (("Limit", gotypes.INT), ("Name", gotypes.STRING)))
REGISTERED: dict[str, GoType] = {"RunArgs": RUN_ARGS, "OtherArgs": RUN_ARGS, "Stranger": RUN_ARGS}
ARGUMENT = Interface(REGISTERED)
LIMIT = StructShape("rpc.RunArgs", {"Limit": ("limit", INT)})
METHODS = {
    "Plugin.Run": Method(
        argument=InterfaceShape({"RunArgs": LIMIT, "OtherArgs": SKIP}),
        reply=gotypes.STRING,
        concrete="RunArgs",
    ),
    "Plugin.Type": Method(argument=NO_INTERFACE, reply=gotypes.STRING),
    "Control.Ping": Method(argument=BOOL, reply=gotypes.EMPTY),
    "Dispenser.Dispense": Method(argument=STRING, reply=gotypes.UINT),
}


def events(server: Server, *data: bytes) -> list[Call | Refused]:
    for part in data:
        server.receive_data(part)
    got = []
    while (event := server.next_event()) is not NEED_DATA:
        got.append(event)
    return got


def replies(client: Client, *data: bytes) -> list[Reply]:
    for part in data:
        client.receive_data(part)
    got = []
    while (event := client.next_event()) is not NEED_DATA:
        got.append(event)
    return got


def asked(service_method: str, type_: GoType, value: object) -> Call | Refused:
    [event] = events(Server(METHODS), Client().call(service_method, type_, value)[1])
    return event


def test_calls_and_answers_meet() -> None:
    server, client = Server(METHODS), Client()
    first, ping = client.call("Control.Ping", gotypes.BOOL, True)
    second, run = client.call("Plugin.Run", ARGUMENT, Named("RunArgs", {"Limit": 7}), reply=STRING)

    calls = events(server, ping, run)
    assert calls == [Call(first, "Control.Ping", True), Call(second, "Plugin.Run", {"limit": 7})]
    assert isinstance(calls[0], Call)
    assert isinstance(calls[1], Call)

    answers = replies(client, server.reply(calls[1], "late"), server.reply(calls[0], {}))
    assert answers == [Reply(second, "late", ""), Reply(first, {}, "")]


def test_the_first_call_has_no_seq_on_the_wire() -> None:
    _, data = Client().call("Control.Ping", gotypes.BOOL, True)
    header = Struct("Request", (("ServiceMethod", gotypes.STRING), ("Seq", gotypes.UINT)))

    assert data == Encoder().encode((header, {"ServiceMethod": "Control.Ping"}), (gotypes.BOOL, True))


REFUSALS: list[tuple[str, GoType, object, str]] = [
    ("Plugin.Nope", ARGUMENT, Named("RunArgs", {}), "rpc: can't find method Plugin.Nope"),
    ("Plugin.Nope", ARGUMENT, None, "rpc: can't find method Plugin.Nope"),
    ("Nope.Run", ARGUMENT, Named("RunArgs", {}), "rpc: can't find service Nope.Run"),
    ("Plugin.Sub.Run", ARGUMENT, None, "rpc: can't find service Plugin.Sub.Run"),
    ("PluginRun", ARGUMENT, None, "rpc: service/method request ill-formed: PluginRun"),
    ("Plugin.Run", ARGUMENT, None, "invalid args %!s(<nil>)"),
    ("Plugin.Run", ARGUMENT, Named("OtherArgs", {"Name": "secret"}), "invalid args OtherArgs"),
    ("Plugin.Run", ARGUMENT, Named("Stranger", {}), 'gob: name not registered for interface: "Stranger"'),
    (
        "Plugin.Run",
        gotypes.STRING,
        "text",
        (
            "gob: local interface type *interface {} can only be decoded from remote interface type; "
            "received concrete type string"
        ),
    ),
    ("Control.Ping", gotypes.STRING, "x", "gob: decoding into local type *bool, received remote type string"),
]


@pytest.mark.parametrize(("service_method", "type_", "value", "text"), REFUSALS)
def test_a_refused_call_is_told_why_and_the_connection_goes_on(
    service_method: str, type_: GoType, value: object, text: str
) -> None:
    server, client = Server(METHODS), Client()
    seq, bad = client.call(service_method, type_, value)
    _, good = client.call("Plugin.Run", ARGUMENT, Named("RunArgs", {"Limit": 1}))

    refused, call = events(server, bad, good)

    assert refused == Refused(seq, service_method, text)
    assert isinstance(refused, Refused)
    assert isinstance(call, Call)
    assert replies(client, server.error(refused, text), server.reply(call, "ok")) == [
        Reply(seq, None, text),
        Reply(call.seq, "ok", ""),
    ]


@pytest.mark.parametrize("value", [None, Named("RunArgs", {"Limit": 1}), Named("Stranger", {"Limit": 1})])
def test_a_method_that_wants_nothing_takes_any_interface(value: Named | None) -> None:
    event = asked("Plugin.Type", ARGUMENT, value)

    assert isinstance(event, Call)
    assert event.service_method == "Plugin.Type"


def test_an_answer_of_the_wrong_type_is_refused_and_an_error_can_follow() -> None:
    server, client = Server(METHODS), Client()
    [call] = events(server, client.call("Dispenser.Dispense", gotypes.STRING, "x")[1])
    assert isinstance(call, Call)

    with pytest.raises(LocalProtocolError):
        server.reply(call, -1)
    assert replies(client, server.error(call, "unknown")) == [Reply(0, None, "unknown")]


def test_an_error_has_a_text() -> None:
    server = Server(METHODS)
    [call] = events(server, Client().call("Control.Ping", gotypes.BOOL, True)[1])

    with pytest.raises(LocalProtocolError):
        server.error(call, "")


def test_a_call_of_the_wrong_type_is_never_made() -> None:
    client = Client()

    with pytest.raises(LocalProtocolError):
        client.call("Control.Ping", gotypes.BOOL, 1)
    assert client.call("Control.Ping", gotypes.BOOL, True)[0] == 0


def test_a_method_name_that_nobody_can_mean_ends_the_connection() -> None:
    """Each answer would repeat it, and the log too."""
    refused = asked("P." + "n" * (MAX_METHOD - 2), gotypes.BOOL, True)
    assert isinstance(refused, Refused)
    server = Server(METHODS)
    server.receive_data(Client().call("P." + "n" * (MAX_METHOD - 1), gotypes.BOOL, True)[1])

    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match=f"name of {MAX_METHOD + 1} characters"):
            server.next_event()


def test_a_header_that_cannot_be_read_ends_the_connection() -> None:
    server = Server(METHODS)
    server.receive_data(Encoder().encode((gotypes.STRING, "no header")))
    server.receive_data(Client().call("Control.Ping", gotypes.BOOL, True)[1])

    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="cannot read a header"):
            server.next_event()


def test_the_end_of_the_stream_is_sound_only_between_calls() -> None:
    _, data = Client().call("Plugin.Run", ARGUMENT, Named("RunArgs", {"Limit": 1}))

    for size in range(len(data) + 1):
        server = Server(METHODS)
        events(server, data[:size])
        if size in {0, len(data)}:
            server.receive_eof()
        else:
            with pytest.raises(RemoteProtocolError, match="within a request"):
                server.receive_eof()


def test_a_reply_that_nobody_waits_for_ends_the_connection() -> None:
    server, client, other = Server(METHODS), Client(), Client()
    [call] = events(server, other.call("Control.Ping", gotypes.BOOL, True)[1])
    assert isinstance(call, Call)
    client.receive_data(server.reply(call, {}))

    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="which does not wait"):
            client.next_event()


def test_a_reply_of_the_wrong_type_ends_the_connection() -> None:
    server, client = Server(METHODS), Client()
    [call] = events(server, client.call("Control.Ping", gotypes.BOOL, True, reply=BOOL)[1])
    assert isinstance(call, Call)
    client.receive_data(server.reply(call, {}))

    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="decoding into local type"):
            client.next_event()


SESSIONS = sorted({name.partition(" ")[0] for name in streams("metric")})
ANY_ARGUMENT = {
    f"Plugin.{name}": Method(argument=ANY, reply=gotypes.STRING)
    for name in ("InitPlugin", "Run", "Resume", "Terminate", "GarbageCollect", "Type", "GetMetadata")
}


def headers_and_bodies(vector: Vector) -> list[tuple[dict[str, object], object]]:
    return list(zip(vector.decoded[::2], vector.decoded[1::2], strict=True))


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("session", SESSIONS)
def test_requests_of_a_real_controller_are_understood(session: str, step: int) -> None:
    server = Server(ANY_ARGUMENT)

    for vector in streams("metric")[f"{session} host->plugin"]:
        chunks = [vector.data[at : at + step] for at in range(0, len(vector.data), step)]
        got = [event for chunk in chunks for event in events(server, chunk)]

        for event, (header, body) in zip(got, headers_and_bodies(vector), strict=True):
            assert (event.service_method, event.seq) == (header["ServiceMethod"], header.get("Seq", 0))
            if isinstance(event, Call):
                assert agrees(event.argument, body)
        server.receive_eof()


@pytest.mark.parametrize("session", SESSIONS)
def test_replies_of_a_real_plugin_are_understood(session: str) -> None:
    client = Client()

    for vector in streams("metric")[f"{session} plugin->host"]:
        pairs = headers_and_bodies(vector)
        for header, _ in pairs:
            client.call(str(header["ServiceMethod"]), gotypes.EMPTY, {})
        got = replies(client, vector.data)

        for reply, (header, body) in zip(got, pairs, strict=True):
            assert (reply.seq, reply.error) == (header.get("Seq", 0), header.get("Error", ""))
            assert reply.error or agrees(reply.value, body)


CALLS = [vector.data for vector in streams("metric")["lifecycle host->plugin"]]


@given(st.integers(0, len(CALLS) - 1), st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4))
def test_damaged_requests_are_refused_or_end_the_connection(index: int, place: float, patch: bytes) -> None:
    """Whatever comes, an event is answerable, and nothing but RemoteProtocolError is raised."""
    server = Server(METHODS)
    events(server, *CALLS[:index])
    at = int(place * len(CALLS[index]))
    damaged = CALLS[index][:at] + patch + CALLS[index][at + len(patch) :]

    try:
        for event in events(server, damaged, *CALLS[index + 1 :]):
            assert server.error(event, "told")
    except RemoteProtocolError:
        with pytest.raises(RemoteProtocolError):
            server.next_event()
