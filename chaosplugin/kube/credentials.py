"""Where the `Authorization` header comes from, and when it is renewed.

kubernetes-asyncio reads a token once and trusts it; here every request asks, and tells which value the
server has refused. Whatever fails while a credential is still at hand is logged, and the old one is kept:
a plugin that cannot renew for a minute goes on.
"""

import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio

from chaosplugin import files
from chaosplugin.kube.errors import NoCluster, one_line

_log = logging.getLogger(__name__)
_random = random.SystemRandom()

_MAX_TOKEN_BYTES = 64 << 10
_FILE_CHECK_S = 10.0
_AGAIN_S = 10.0  # after a failure: an exec plugin is a process, and may ask a person


class Credential(Protocol):
    """A source of one header value."""

    async def header(self, refused: str | None = None) -> str:
        """Return the value of `Authorization`, "" for none; `refused` is one that was of no use.

        Raises:
            NoCluster: there is none, nor an old one.
        """
        ...

    @property
    def origin(self) -> str:
        """Where it comes from, for whoever has to mend one that is refused; "" where that is plain."""
        ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value that never changes."""

    value: str = field(default="", repr=False)
    origin = ""

    async def header(self, refused: str | None = None) -> str:
        return self.value


def is_token(text: str) -> bool:
    """Whether a header can hold it, as it can no line's end, and a half-written file may have one."""
    return text.isascii() and text.isprintable()


class TokenFile:
    """A bearer token in a file that its owner rewrites, such as a projected ServiceAccount token."""

    origin = ""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._monotonic = monotonic
        self._value = ""
        self._version: files.Version | None = None
        self._check_at = float("-inf")

    async def header(self, refused: str | None = None) -> str:
        now = self._monotonic()
        again = refused is not None and refused == self._value
        if now >= self._check_at or again:
            self._check_at = now + _FILE_CHECK_S
            try:
                self._read(again=again)
            except (OSError, ValueError) as error:
                if not self._value:
                    raise NoCluster(f"token file {self._path}: {error}") from None
                _log.warning("the token file cannot be read, the last token is kept: %s", error)
        return self._value

    def _read(self, *, again: bool) -> None:
        version = files.version([self._path])
        if version == self._version and not again:
            return
        with self._path.open("rb") as file:
            token = file.read(_MAX_TOKEN_BYTES).strip().decode("ascii")
        if not token:
            raise ValueError("it is empty")
        if not is_token(token):
            raise ValueError("it holds characters that no header can")
        self._value = f"Bearer {token}"
        self._version = version


@dataclass(frozen=True, slots=True)
class Issued:
    """A fresh header value, and for how many seconds it is good; None: until it is refused."""

    value: str = field(repr=False)
    seconds: float | None = None


class Renewed:
    """A credential that somebody else issues for a time: an exec plugin, an OIDC provider.

    `issue` raises NoCluster when it fails. It runs once for all requests that wait for it.
    """

    origin = ""

    def __init__(
        self,
        issue: Callable[[], Awaitable[Issued]],
        *,
        timeout_s: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issue = issue
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._value: str | None = None
        self._due_at = float("inf")
        self._not_before = float("-inf")
        self._lock = anyio.Lock()

    async def header(self, refused: str | None = None) -> str:
        async with self._lock:
            now = self._monotonic()
            again = refused is not None and refused == self._value
            if self._value is None or ((again or now >= self._due_at) and now >= self._not_before):
                await self._renew()
                if again and self._value == refused:  # no better one is to be had now
                    self._not_before = self._monotonic() + _AGAIN_S
            return self._value or ""

    async def _renew(self) -> None:
        try:
            with anyio.fail_after(self._timeout_s):
                issued = await self._issue()
        except (NoCluster, TimeoutError) as error:
            reason = one_line(str(error)) or f"not done within {self._timeout_s:g} s"
            if self._value is None:
                raise NoCluster(f"no credential for the API server: {reason}") from None
            self._not_before = self._monotonic() + _AGAIN_S
            _log.warning("the credential cannot be renewed, the last one is kept: %s", reason)
        else:
            self._value = issued.value
            self._due_at = self._monotonic() + _use_for(issued.seconds)


def _use_for(seconds: float | None) -> float:
    """Renew before the end, several plugins not at the same moment."""
    if seconds is None:
        return float("inf")
    return max(1.0, seconds - min(120.0, seconds * 0.2) * (0.5 + _random.random() / 2))
