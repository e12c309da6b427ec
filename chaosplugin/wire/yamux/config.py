"""The numbers of a session."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from chaosplugin.wire.yamux.window import INITIAL


class Role(IntEnum):
    """Which end; the value is its first stream id."""

    CLIENT = 1
    SERVER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Limits and delays. The defaults are those of Go's DefaultConfig, with which go-plugin runs both ends.

    `accept_backlog` counts streams that one end has opened and the other has not accepted;
    `max_streams`, which Go does not have, those of both ends together. `receive_window` is in bytes,
    at least 256 KiB.
    """

    accept_backlog: int = 256
    max_streams: int = 1024
    receive_window: int = INITIAL
    keep_alive_s: float = 30.0
    reply_timeout_s: float = 10.0
    open_timeout_s: float = 75.0
    close_timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if self.receive_window < INITIAL:
            raise ValueError(f"receive window of {self.receive_window} bytes, yamux starts with {INITIAL}")


DEFAULT: Final = Config()
