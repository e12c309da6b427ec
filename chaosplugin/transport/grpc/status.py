"""Errors as google.rpc.Status: a code, words for a person, and details for a program."""

from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from chaosplugin.core.refusal import InvalidConfig, Refusal

DETAILS_KEY = "grpc-status-details-bin"
"""of the trailing metadata, by convention of all gRPC libraries"""
_DOMAIN = "chaosplugin.io"


class Rejected(Exception):
    """What a handler raises to end a call with a status."""

    def __init__(self, code: grpc.StatusCode, message: str, *details: Message) -> None:
        super().__init__(message)
        self.code = code
        self.details = details


def invalid(field: str, what: str) -> Rejected:
    """The request's field is not what it must be."""
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field=field, description=what)
    return Rejected(grpc.StatusCode.INVALID_ARGUMENT, f"{field}: {what}", bad)


def later(message: str, seconds: float) -> Rejected:
    """Nothing is wrong with the request: another try after so many seconds may succeed."""
    retry = error_details_pb2.RetryInfo(
        retry_delay=Duration(nanos=int(seconds % 1 * 1e9), seconds=int(seconds))
    )
    return Rejected(grpc.StatusCode.UNAVAILABLE, message, retry)


def refused(refusal: Refusal) -> Rejected:
    """The gate cannot be made: a field of its configuration is wrong, or scope or policy is against it."""
    message = f"{refusal.reason}: {refusal}"
    if isinstance(refusal, InvalidConfig):
        bad = error_details_pb2.BadRequest()
        field = "config" if refusal.key.startswith("provider.plugin") else f"config.{refusal.key}"
        bad.field_violations.add(field=field, description=str(refusal))
        return Rejected(grpc.StatusCode.INVALID_ARGUMENT, message, bad)
    failure = error_details_pb2.PreconditionFailure()
    failure.violations.add(type=refusal.reason.value, subject=_DOMAIN, description=str(refusal))
    return Rejected(grpc.StatusCode.FAILED_PRECONDITION, message, failure)


async def abort(context: grpc.aio.ServicerContext[Message, Message], rejected: Rejected) -> NoReturn:
    """End the call; details go where every gRPC library looks for them."""
    status = Status(code=rejected.code.value[0], message=str(rejected))
    for detail in rejected.details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = ((DETAILS_KEY, status.SerializeToString()),) if rejected.details else ()
    await context.abort(rejected.code, str(rejected), trailing)
    raise AssertionError("abort raises")


def retry_delay(error: grpc.aio.AioRpcError) -> float | None:
    """Return the seconds after which a server has asked to be called again."""
    retry = error_details_pb2.RetryInfo()
    if any(detail.Unpack(retry) for detail in _details(error)):
        return float(retry.retry_delay.ToTimedelta().total_seconds())
    return None


def violations(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """Return what a server has against each field of the request."""
    bad = error_details_pb2.BadRequest()
    if any(detail.Unpack(bad) for detail in _details(error)):
        return {each.field: each.description for each in bad.field_violations}
    return {}


def _details(error: grpc.aio.AioRpcError) -> list[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return list(Status.FromString(value).details)
            except DecodeError:
                return []
    return []
