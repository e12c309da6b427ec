"""net/rpc: any bytes are calls, refused calls, or the end; each call gets an answer that can be read."""

from collections.abc import Coroutine, Iterator

from chaosplugin.transport.netrpc import CallError
from chaosplugin.wire.errors import RemoteProtocolError
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder
from chaosplugin.wire.gob.shapes import ANY
from chaosplugin.wire.netrpc import Call, Client, Refused, Server
from tests.fuzz.argo_calls import SERVICE, calls
from tests.fuzz.gob_messages import mutate

__all__ = ["check", "mutate", "seeds"]


def check(data: bytes) -> None:
    server = Server({name: endpoint.method for name, endpoint in SERVICE.items()})
    answers = Decoder()
    expected = []
    try:
        for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
            server.receive_data(piece)
            while (event := server.next_event()) is not NEED_DATA:
                expected.append(event.seq)
                answers.receive_data(_answer(server, event))
        server.receive_eof()
    except RemoteProtocolError:
        pass
    for seq in expected:
        header = answers.next_value(ANY)
        assert isinstance(header, dict)
        assert header.get("Seq", 0) == seq
        assert answers.next_value(ANY) is not NEED_DATA
    assert answers.between_values


def _answer(server: Server, event: Call | Refused) -> bytes:
    if isinstance(event, Refused):
        return server.error(event, event.error)
    try:
        answer: object = SERVICE[event.service_method].handle(event.argument)
        return server.reply(event, _waited_for(answer) if isinstance(answer, Coroutine) else answer)
    except CallError as error:
        return server.error(event, str(error))


def _waited_for(answer: Coroutine[object, object, object]) -> object:
    try:
        answer.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the provider waits for nothing")


def seeds() -> Iterator[bytes]:
    for name, type_, value in calls():
        client = Client()
        yield b"".join(client.call(method, type_, value)[1] for method in (name, "Plugin.Type", name))
