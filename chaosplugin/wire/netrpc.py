"""Go's net/rpc over gob, both ends, without I/O.

A request is two gob values, the header {ServiceMethod, Seq} and the argument; a reply is the header
{ServiceMethod, Seq, Error} and the result, which is an empty struct if Error is not empty. Each direction is
one gob stream for the life of the connection. Replies come in any order and are matched by Seq.

What is wrong with one call (no such method, an argument of the wrong type) is answered, and the connection
goes on; a header that cannot be read ends it, because nobody knows where the next one begins.

Source: Go's net/rpc, server.go and client.go, with its error texts. Two things are done better: a nil
interface as the argument of a refused call does not hang, and a refused argument is read to its end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from chaosplugin.wire.errors import LocalProtocolError, RemoteProtocolError
from chaosplugin.wire.gob.decoder import NEED_DATA, Decoder, NeedData, TypeMismatch
from chaosplugin.wire.gob.encoder import Encoder
from chaosplugin.wire.gob.gotypes import EMPTY, STRING, UINT, GoType, Struct
from chaosplugin.wire.gob.shapes import ANY, SKIP, Named, Shape, StructShape
from chaosplugin.wire.gob.shapes import STRING as WANTED_STRING
from chaosplugin.wire.gob.shapes import UINT as WANTED_UINT

__all__ = ["NEED_DATA", "Call", "Client", "Method", "NeedData", "Refused", "Reply", "Server"]

MAX_METHOD = 1_024
"""Characters of a method's name, which every answer and every refusal repeats. Stops names of 32 MiB."""

_REQUEST = Struct("Request", (("ServiceMethod", STRING), ("Seq", UINT)))
_RESPONSE = Struct("Response", (("ServiceMethod", STRING), ("Seq", UINT), ("Error", STRING)))


_METHOD_AND_SEQ: dict[str, tuple[str, Shape]] = {
    "ServiceMethod": ("ServiceMethod", WANTED_STRING),
    "Seq": ("Seq", WANTED_UINT),
}
_REQUEST_SHAPE = StructShape("rpc.Request", _METHOD_AND_SEQ)
_RESPONSE_SHAPE = StructShape("rpc.Response", {**_METHOD_AND_SEQ, "Error": ("Error", WANTED_STRING)})


class _Header(NamedTuple):
    service_method: str
    seq: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What a method takes and answers.

    `concrete` is set for a method whose argument is an interface that must hold the type registered under
    this name; the handler then gets that type's value instead of a `Named`.
    """

    argument: Shape
    reply: GoType
    concrete: str = ""


class Call(NamedTuple):
    """A request to be answered by `Server.reply` or `Server.error`, once."""

    seq: int
    service_method: str
    argument: object


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that no method can take; it wants `Server.error` with this text."""

    seq: int
    service_method: str
    error: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a call; `value` is None if there is an error."""

    seq: int
    value: object
    error: str


class _Reader:
    """The reading half of either end: headers, each with its body; the first fault ends it for good."""

    def __init__(self, shape: StructShape) -> None:
        self.decoder = Decoder()
        self.header: _Header | None = None
        self._shape = shape
        self._broken: RemoteProtocolError | None = None

    def next_header(self) -> _Header | None:
        """The header whose body is to be read, or None until it is there."""
        if self._broken is not None:
            raise self._broken
        if self.header is None:
            try:
                header = self.decoder.next_value(self._shape)
            except TypeMismatch as error:
                raise self.give_up(f"rpc: cannot read a header: {error}") from error
            if isinstance(header, dict):  # it has all fields of its shape, of their types
                method = header["ServiceMethod"]
                if len(method) > MAX_METHOD:
                    raise self.give_up(
                        f"rpc: a method's name of {len(method)} characters, more than {MAX_METHOD}"
                    )
                self.header = _Header(method, header["Seq"], header.get("Error", ""))
        return self.header

    def next_body(self, shape: Shape) -> object | Literal[NeedData.NEED_DATA]:
        """The body that belongs to the header; a TypeMismatch is this body's affair only."""
        try:
            body = self.decoder.next_value(shape)
        except TypeMismatch:
            self.header = None
            raise
        if body is not NEED_DATA:
            self.header = None
        return body

    def give_up(self, text: str) -> RemoteProtocolError:
        self._broken = RemoteProtocolError(text)
        return self._broken


class Server:
    """The answering end of a connection. `methods` are named as on the wire: "Plugin.Run"."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._services = {name.rpartition(".")[0] for name in methods}
        self._reader = _Reader(_REQUEST_SHAPE)
        self._encoder = Encoder()

    def receive_data(self, data: bytes) -> None:
        self._reader.decoder.receive_data(data)

    @property
    def held(self) -> int:
        """Bytes that have come of calls which are not whole yet, or were not asked for."""
        return self._reader.decoder.held

    def receive_eof(self) -> None:
        """The peer sends no more; calls that came whole want their answers still.

        Raises RemoteProtocolError if it stopped in the middle of a request.
        """
        if self._reader.header is not None or not self._reader.decoder.between_values:
            raise RemoteProtocolError("rpc: the stream ends within a request")

    def next_event(self) -> Call | Refused | Literal[NeedData.NEED_DATA]:
        """Raises RemoteProtocolError if no further request can be read; earlier ones can be answered."""
        header = self._reader.next_header()
        if header is None:
            return NEED_DATA
        method = self._methods.get(header.service_method)
        try:
            argument = self._reader.next_body(SKIP if method is None else method.argument)
        except TypeMismatch as error:
            return Refused(header.seq, header.service_method, str(error))
        if argument is NEED_DATA:
            return NEED_DATA
        if method is None:
            return Refused(header.seq, header.service_method, self._unknown(header.service_method))
        if method.concrete:
            if not isinstance(argument, Named) or argument.name != method.concrete:
                return Refused(header.seq, header.service_method, _invalid(argument))
            argument = argument.value
        return Call(header.seq, header.service_method, argument)

    def reply(self, call: Call, value: object) -> bytes:
        """Return the bytes of an answer, which must go out whole and in the order in which they were made.

        Raises LocalProtocolError, having changed nothing, if `value` is not of the method's reply type.
        """
        return self._answer(call, "", self._methods[call.service_method].reply, value)

    def error(self, call: Call | Refused, text: str) -> bytes:
        """Return the bytes of an error; the caller gets the text as it is."""
        if not text:
            raise LocalProtocolError("rpc: an error without a text would be an answer")
        return self._answer(call, text, EMPTY, {})

    def _answer(self, call: Call | Refused, error: str, type_: GoType, value: object) -> bytes:
        header = {"ServiceMethod": call.service_method, "Seq": call.seq, "Error": error}
        return self._encoder.encode((_RESPONSE, header), (type_, value))

    def _unknown(self, service_method: str) -> str:
        service, dot, _ = service_method.rpartition(".")
        if not dot:
            return f"rpc: service/method request ill-formed: {service_method}"
        what = "method" if service in self._services else "service"
        return f"rpc: can't find {what} {service_method}"


class Client:
    """The asking end of a connection."""

    def __init__(self) -> None:
        self._reader = _Reader(_RESPONSE_SHAPE)
        self._encoder = Encoder()
        self._next_seq = 0
        self._waiting: dict[int, Shape] = {}

    def call(
        self, service_method: str, argument_type: GoType, value: object, *, reply: Shape = ANY
    ) -> tuple[int, bytes]:
        """Return the number of a new call and its bytes, which must go out whole and in order.

        Raises LocalProtocolError, having changed nothing, if `value` is not of the type.
        """
        seq = self._next_seq
        header = {"ServiceMethod": service_method, "Seq": seq}
        data = self._encoder.encode((_REQUEST, header), (argument_type, value))
        self._next_seq += 1
        self._waiting[seq] = reply
        return seq, data

    def receive_data(self, data: bytes) -> None:
        self._reader.decoder.receive_data(data)

    def next_event(self) -> Reply | Literal[NeedData.NEED_DATA]:
        """Raises RemoteProtocolError if a reply cannot be read or answers nothing; Go gives up as well."""
        header = self._reader.next_header()
        if header is None:
            return NEED_DATA
        if header.seq not in self._waiting:
            raise self._reader.give_up(f"rpc: a reply to call {header.seq}, which does not wait for one")
        try:
            value = self._reader.next_body(SKIP if header.error else self._waiting[header.seq])
        except TypeMismatch as error:
            raise self._reader.give_up(str(error)) from error
        if value is NEED_DATA:
            return NEED_DATA
        del self._waiting[header.seq]
        return Reply(header.seq, value, header.error)


def _invalid(argument: object) -> str:
    """Go prints the whole value with %s; its fields may be secrets, so ours gives the type's name alone."""
    return f"invalid args {argument.name}" if isinstance(argument, Named) else "invalid args %!s(<nil>)"
